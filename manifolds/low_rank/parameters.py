"""How a module's factors know their low-rank manifold, and what ranks they have at present."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank._linalg import leading, pad
from isometry.manifolds.low_rank.base import LowRankManifold, Ranks

_RECORD = "_low_rank"
RANKS = "ranks"
_MARK = "_on_low_rank_manifold"


class LowRankParameter(NamedTuple):
    """The factors of one low-rank tensor: parameters of ``module``, a point of ``manifold``.

    The parameters are allocated once, at the largest ranks. The first columns, as many as the module's buffer
    ``ranks`` says, are the point, and the others are zero, so that products of whole factors give the same tensor.

    Args:
        module: Owner of the parameters and of the integer buffer ``ranks``.
        names: The parameters' names in the module, in the order of the manifold's leaves.
        manifold: The manifold.
    """

    module: nn.Module
    names: tuple[str, ...]
    manifold: LowRankManifold[Any, Any]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The factors at their largest ranks."""
        return [self.module.get_parameter(name) for name in self.names]

    @property
    def tangent_grad(self) -> bool:
        """Whether the module says, by an attribute ``tangent_grad``, that its backward gives tangent coordinates."""
        return bool(getattr(self.module, "tangent_grad", False))

    @property
    def ranks(self) -> tuple[int, ...]:
        """The present ranks."""
        return tuple(self.module.get_buffer(RANKS).tolist())

    @property
    def max_ranks(self) -> tuple[int, ...]:
        """The ranks for which the parameters have room."""
        return self.manifold.ranks(self.manifold.point(self.parameters))

    def point(self) -> Any:
        """Return the point: views of the parameters' first columns."""
        return self.manifold.point(self.cut(self.parameters))

    def grad(self) -> Any:
        """Return the parameters' gradients as a tangent vector; they are taken as blocks, in or out of gauge."""
        return self.manifold.tangent(self.cut([p.grad for p in self.parameters if p.grad is not None]))

    def cut(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        """Return the part of tensors of the parameters' shapes that belongs to the present ranks: views."""
        shapes = self.manifold.leaf_shapes(self.ranks)
        return [leading(leaf, shape) for leaf, shape in zip(leaves, shapes, strict=True)]

    def padded(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        """Return leaves of any ranks with zeros after their entries, in the parameters' shapes."""
        shapes = self.manifold.leaf_shapes(self.max_ranks)
        return [pad(leaf, shape) for leaf, shape in zip(leaves, shapes, strict=True)]

    @torch.no_grad()
    def write(self, x: Any) -> None:
        """Copy a point into the parameters, in place, with zeros after its columns, and its ranks into the buffer.

        Raises:
            ValueError: The parameters have no room for its ranks.
        """
        ranks = self.manifold.ranks(x)
        if any(r > room for r, room in zip(ranks, self.max_ranks, strict=True)):
            raise ValueError(
                f"{self.manifold!r}: expected ranks of at most {self.max_ranks}, for which the parameters "
                f"{self.names} have room, but got {ranks}."
            )
        for parameter, leaf in zip(self.parameters, self.padded(self.manifold.leaves(x)), strict=True):
            parameter.copy_(leaf)
        buffer = self.module.get_buffer(RANKS)
        buffer.copy_(torch.tensor(ranks, dtype=buffer.dtype))


def register_low_rank(
    module: nn.Module, names: Sequence[str], manifold: LowRankManifold[Any, Any], ranks: Ranks | None = None
) -> LowRankParameter:
    """Declare that ``module``'s parameters ``names`` are the factors of a point of ``manifold``.

    The record lives on the module, as that of ``register_manifold``, and survives deepcopy, pickle, ``to`` and loading.
    The buffer ``ranks`` is part of the state dict. A module owns one low-rank tensor; for several, give it submodules.

    Args:
        module: Owner of the parameters. An attribute ``tangent_grad = True`` says that its backward gives the
            coordinates of the projected gradient, the blocks of a tangent vector, instead of the derivatives by the
            factors; an optimizer that does not know them then takes steps that mean nothing.
        names: Names of the parameters (dotted for those in a ParameterList), in the order of the manifold's leaves.
        manifold: The manifold.
        ranks: The present ranks; by default those for which the parameters have room.

    Raises:
        ValueError: The module has a low-rank tensor already, or the ranks are impossible.
        ShapeError: The parameters' shapes are not those of factors of one tensor.
    """
    if _RECORD in module.__dict__:
        raise ValueError(
            f"register_low_rank: {type(module).__name__} has a low-rank tensor already; give each a module of its own."
        )
    handle = LowRankParameter(module, tuple(names), manifold)
    shapes = [tuple(p.shape) for p in handle.parameters]
    expected = manifold.leaf_shapes(handle.max_ranks) if len(shapes) == len(manifold.leaf_shapes(1)) else []
    if not expected or any(s[-len(e) :] != e for s, e in zip(shapes, expected, strict=True)):
        raise ShapeError(
            f"register_low_rank: expected the factors of a point of {manifold!r}, but {tuple(names)} have the shapes "
            f"{shapes}."
        )
    present = handle.max_ranks if ranks is None else manifold.check_ranks(ranks)
    module.register_buffer(RANKS, torch.tensor(present, dtype=torch.int64))
    module.__dict__[_RECORD] = (tuple(names), manifold)
    for parameter in handle.parameters:
        setattr(parameter, _MARK, True)
    return handle


def named_low_rank(root: nn.Module) -> dict[str, LowRankParameter]:
    """Return the registered low-rank tensors of ``root`` by the full names of the modules that own them."""
    return {
        name: LowRankParameter(module, *module.__dict__[_RECORD])
        for name, module in root.named_modules()
        if _RECORD in module.__dict__
    }


def is_low_rank(parameter: Tensor) -> bool:
    """Return whether ``parameter`` was registered as a factor; best effort: conversions drop the mark."""
    return hasattr(parameter, _MARK)
