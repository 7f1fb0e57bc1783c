"""The weight of a tensorized layer: factors, how they act on an input, and what that costs."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers.tensor._convolve import Geometry
from isometry.layers.tensor._tangent import Gauged, WithGradientsOf
from isometry.layers.tensor._work import Size, Work, product
from isometry.layers.tensor.fold import Fold
from isometry.manifolds.low_rank import LowRankManifold, register_low_rank
from isometry.manifolds.low_rank.base import Ranks

Leaves = Sequence[Tensor]
Frame = tuple[Leaves, Sequence[int]]
"""Leaves, and the places of those by which their tensor is to be differentiated."""
Action = Callable[..., Tensor]
"""A function of an input, leaves and a bias."""


class TensorWeight(nn.Module, ABC):
    r"""A dense weight ``[out, in, *kernel]`` written in factors, which are its parameters, the leaves.

    A format says how the weight is assembled from leaves and how leaves act on an input without it. Both are functions
    of the leaves that are linear in each, so that the blocks of the projected gradient are ordinary derivatives: block
    k is that of the same function by leaf k, where the other leaves are those of a *frame* in which the tensor is
    written around that leaf. With ``tangent_grad`` the backward returns these blocks, in gauge; nothing is inverted.

    Args:
        shape: Of the dense weight: ``[out, in / groups, *kernel]``, or the rows and columns of a matrix.
        fold: Modes of the rows and of the columns, for the formats that fold them; two balanced ones by default.
        tangent_grad: Gradients are the blocks of a tangent vector, for ``LowRankOptimizer``, instead of derivatives by
            the leaves.

    Raises:
        ShapeError: The fold does not multiply to the shape.
        ValueError: ``tangent_grad`` for a format that is no manifold.
    """

    manifold: LowRankManifold[Any, Any] | None = None
    """Whose points the leaves are; None for a format whose tensors of given rank are no closed set."""

    def __init__(self, shape: Sequence[int], fold: Fold | None = None, tangent_grad: bool = False) -> None:
        super().__init__()
        self.shape, self.tangent_grad = tuple(shape), tangent_grad
        self.kernel = self.shape[2:]
        self.names: tuple[str, ...] = ()
        self.configure(fold)
        if tangent_grad and self.manifold is None:
            raise ValueError(
                f"{type(self).__name__}: the tensors of this format are no manifold (limits of them have larger rank), "
                "so there are no tangent coordinates; train it with tangent_grad=False and an ordinary optimizer."
            )

    @abstractmethod
    def configure(self, fold: Fold | None) -> None:
        """Set the manifold and the modes."""

    # --- leaves -----------------------------------------------------------------------------------------------

    @property
    def leaves(self) -> list[Tensor]:
        """The factors, in the order of the manifold's leaves."""
        return [getattr(self, name) for name in self.names]

    @abstractmethod
    def leaf_names(self) -> Sequence[str]:
        """Return the names of the parameters."""

    def draw(self, ranks: Ranks, norm: float, dtype: torch.dtype) -> list[Tensor]:
        """Return random leaves of a tensor with this Frobenius norm."""
        m = self._manifold
        return m.leaves(m.random(m.check_ranks(ranks), scale=norm, dtype=dtype))

    def decompose(self, w: Tensor, ranks: Ranks | None, tol: float | None, budget: int | None) -> list[Tensor]:
        """Return leaves that approximate the dense ``w``; see ``LowRankManifold.from_dense``."""
        point = self._manifold.from_dense(self.folded(w), ranks=ranks, tol=tol, budget=budget)
        return self._manifold.leaves(point)

    def allocate(self, leaves: Leaves, max_ranks: Ranks | None = None) -> None:
        """Make the leaves parameters, with room for ``max_ranks``, by default for their own ranks only."""
        self.names = tuple(self.leaf_names())
        if self.manifold is None:
            for name, leaf in zip(self.names, leaves, strict=True):
                self.register_parameter(name, nn.Parameter(leaf))
            return
        point = self.manifold.point(leaves)
        room = self.manifold.ranks(point) if max_ranks is None else self.manifold.check_ranks(max_ranks)
        for name, shape in zip(self.names, self.manifold.leaf_shapes(room), strict=True):
            self.register_parameter(name, nn.Parameter(leaves[0].new_zeros(shape)))
        register_low_rank(self, self.names, self.manifold).write(point)

    @property
    def _manifold(self) -> LowRankManifold[Any, Any]:
        if self.manifold is None:
            raise TypeError(f"{type(self).__name__} is not the format of a manifold.")
        return self.manifold

    # --- the format -------------------------------------------------------------------------------------------

    @abstractmethod
    def folded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the dense weight as a tensor of the format's modes."""

    @abstractmethod
    def unfolded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the inverse of ``folded``."""

    def assembled(self, leaves: Leaves) -> Float[Tensor, "..."]:
        """Return the dense weight."""
        return self.unfolded(self._manifold.to_dense(self._manifold.point(leaves)))

    @abstractmethod
    def linear(self, x: Float[Tensor, "n i"], leaves: Leaves, bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return ``W x + bias`` of a matrix W, without W."""

    @abstractmethod
    def convolved(
        self, x: Float[Tensor, "n i ..."], leaves: Leaves, bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return the convolution with W, without W."""

    @abstractmethod
    def rows(self, index: Int[Tensor, "n"], leaves: Leaves, bias: None) -> Float[Tensor, "n i"]:
        """Return rows of a matrix W, without W."""

    def frames(self, leaves: Leaves) -> list[Frame]:
        """Return the tensor written around each leaf but the core."""
        raise NotImplementedError(f"{type(self).__name__} is no manifold.")

    # --- work -------------------------------------------------------------------------------------------------

    @abstractmethod
    def contraction_work(self, size: Size, groups: int) -> Work:
        """Return the work of ``linear`` or ``convolved``."""

    @abstractmethod
    def row_work(self, count: int) -> Work:
        """Return the work of ``rows``."""

    @abstractmethod
    def assembly_work(self) -> Work:
        """Return the work of ``assembled``."""

    def dense_work(self, size: Size) -> Work:
        """Return the work of the dense layer."""
        out, inp = self.shape[0], math.prod(self.shape[1:])
        return product(size.outputs, inp, out)

    # --- evaluation -------------------------------------------------------------------------------------------

    def dense(self) -> Float[Tensor, "..."]:
        """Return the dense weight, in the format of the leaves, under autocast, too."""
        with torch.autocast(self.leaves[0].device.type, enabled=False):
            return self.evaluate(lambda _, leaves, __: self.assembled(leaves), self.leaves[0], None)

    def evaluate(self, action: Action, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return ``action(x, leaves, bias)``; its gradients by the leaves are blocks if ``tangent_grad`` says so."""
        leaves = self.leaves
        if not (self.tangent_grad and torch.is_grad_enabled()):
            return action(x, leaves, bias)
        fixed = [leaf.detach() for leaf in leaves]
        core = self._manifold.core
        value = action(x, [*fixed[:core], leaves[core], *fixed[core + 1 :]], bias)
        others = []
        for frame, live in self.frames(fixed):
            around = [Gauged.apply(leaves[k]) if k in live else leaf for k, leaf in enumerate(frame)]
            others.append(action(x.detach(), around, None))
        return WithGradientsOf.apply(value, *others)

    def multiply(self, x: Float[Tensor, "n i"], bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return ``W x + bias`` of a matrix W by its factors."""
        return self.tangent_linear(x, bias) if self._tangent_in(x) else self.evaluate(self.linear, x, bias)

    def convolve(
        self, x: Float[Tensor, "n i ..."], bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return the convolution with W, plus bias, by its factors."""
        if self._tangent_in(x):
            return self.tangent_convolved(x, bias, geometry)
        return self.evaluate(partial(self.convolved, geometry=geometry), x, bias)

    def _tangent_in(self, x: Tensor) -> bool:
        """Return whether blocks are wanted, and from a backward of the format's own, which knows no autocast."""
        return self.tangent_grad and torch.is_grad_enabled() and not torch.is_autocast_enabled(x.device.type)

    def tangent_linear(self, x: Float[Tensor, "n i"], bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return ``linear`` of the leaves, whose backward makes all blocks at once, with the work of derivatives."""
        raise NotImplementedError(f"{type(self).__name__} is no manifold.")

    def tangent_convolved(
        self, x: Float[Tensor, "n i ..."], bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return ``convolved``, likewise."""
        raise NotImplementedError(f"{type(self).__name__} is no manifold.")

    def extra_repr(self) -> str:
        """Return the shape, the ranks and what the gradients are."""
        shapes = ", ".join("x".join(map(str, leaf.shape)) for leaf in self.leaves)
        return f"{'x'.join(map(str, self.shape))} of {shapes}, tangent_grad={self.tangent_grad}"


def plus(y: Float[Tensor, "*b o"], bias: Float[Tensor, "o"] | None) -> Float[Tensor, "*b o"]:
    """Return ``y + bias`` in the format of y, which autocast may have lowered."""
    return y if bias is None else y + bias.to(y.dtype)
