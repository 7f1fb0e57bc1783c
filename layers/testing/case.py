"""A layer under test: how it is built, what it is fed and what it promises."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isometry.manifolds import Manifold


@dataclass(frozen=True)
class LayerCase:
    """A layer under test.

    ``make_layer`` and ``make_input`` run with float64 as the default format and from a fixed seed, so that
    ``torch.randn`` and ``manifold.random`` without a ``dtype`` give what the suite needs.

    Args:
        make_layer: Builds the layer, in the mode (train or eval) in which it is to be tested.
        make_input: Gives the input, or a tuple of inputs, of n samples; every input is batched along dimension 0.
        out_shape: The shape of the output for one sample, the batch dimension left out.
        cond: By how many times the format's ``eps`` values and gradients may be off, relative to the largest of them.
            Declare it from the number of operations and their conditioning, never from a failing test.
        manifold_in: Where the floating-point inputs lie; a tuple with one entry for each input if they differ.
        manifold_out: Where the output lies, if on a manifold.
        name: What the test is called; the layer's repr if omitted.
    """

    make_layer: Callable[[], nn.Module]
    make_input: Callable[[int], Tensor | tuple[Tensor, ...]]
    out_shape: tuple[int, ...]
    cond: float = 64.0
    manifold_in: Manifold | Sequence[Manifold | None] | None = None
    manifold_out: Manifold | None = None
    name: str = ""

    def __str__(self) -> str:
        return self.name or " ".join(repr(self.layer()).split())[:80]

    def bound(self, dtype: torch.dtype) -> float:
        """Return ``cond * eps``."""
        return float(self.cond * torch.finfo(dtype).eps)

    def layer(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """Return a new layer, which shares nothing with others (not a learnable manifold, either)."""
        with float64_by_default():
            return copy.deepcopy(self.make_layer()).to(dtype)

    def inputs(self, count: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
        """Return the inputs of ``count`` samples, in ``dtype`` where they are floating-point."""
        with float64_by_default():
            made = self.make_input(count)
        return tuple(
            x.detach().to(dtype) if x.is_floating_point() else x for x in (made if isinstance(made, tuple) else (made,))
        )

    def manifolds(self, inputs: Sequence[Tensor]) -> list[Manifold | None]:
        """Return the manifold of each input, None for those that lie on none."""
        if self.manifold_in is None or isinstance(self.manifold_in, Manifold):
            return [self.manifold_in if x.is_floating_point() else None for x in inputs]
        return list(self.manifold_in)


@contextmanager
def float64_by_default() -> Iterator[None]:
    """Make float64 the default format and start the random numbers anew."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
