"""The interface of tensors of fixed rank that are stored as factors."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from isometry.manifolds.errors import ShapeError

Point = TypeVar("Point", bound=tuple[Any, ...])
Tangent = TypeVar("Tangent", bound=tuple[Any, ...])
Ranks = int | Sequence[int]


class LowRankManifold(ABC, Generic[Point, Tangent]):
    r"""The tensors of one shape and one format, at any rank, with the metric of the dense tensors around them.

    A point is a named tuple of factors: orthonormal bases, and a core of any form. Tensors may be real or complex, and
    all leading dimensions are batch; the ranks are those of every member of the batch. A tangent vector is a named
    tuple of blocks *in gauge*: block k has the shape of factor k, belongs to it, and the tangent spaces of the
    blocks are orthogonal, so that ``<t, s> = sum_k <t_k, s_k>`` is the inner product of the dense tensors.

    Three verbs make all steps: ``embed`` (``x + t`` exactly, at up to twice the rank), ``augment`` (the same tensor in
    larger bases) and ``truncate``. ``retract`` is ``truncate(embed(x, t))``, the metric projection of ``x + t`` or
    nearly so, a retraction of second order. Before the truncation this is also the step of the parallel
    basis-update-and-Galerkin (BUG) integrator with one Euler substep.

    Factors, blocks and leaves: ``leaves`` lists the tensors of a point, or of a tangent vector in the same order;
    ``point`` and ``tangent`` are its inverses. A layer's parameters are leaves, possibly with more columns than the
    ranks; the rest is zero. No operation is differentiated: gradients are projected, never decompositions.

    A subclass implements the abstract members; everything else is derived here.

    Args:
        shape: The shape of the dense tensors, without batch.

    Source: Uschmajew & Vandereycken 2020, Geometric methods on low-rank matrix and tensor manifolds; Ceruti, Kusch &
        Lubich 2024, A parallel rank-adaptive integrator for dynamical low-rank approximation.
    """

    core: int
    """The index of the core among the leaves: the one that is not orthonormal and has the norm of the tensor."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(int(n) for n in shape)
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise ShapeError(
                f"{type(self).__name__}: expected at least two modes of positive size, but got the shape {self.shape}."
            )

    # --- facts ------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def full_ranks(self) -> tuple[int, ...]:
        """The sizes of the largest bases: those of the whole space."""

    @abstractmethod
    def dim(self, ranks: Ranks) -> int:
        """Return the dimension of the manifold of tensors with exactly these ranks."""

    @abstractmethod
    def leaf_shapes(self, ranks: Ranks) -> list[tuple[int, ...]]:
        """Return the shapes, without batch, of the leaves of a point with these ranks."""

    @abstractmethod
    def ranks(self, x: Point) -> tuple[int, ...]:
        """Return the ranks of a point: the sizes of its bases."""

    @abstractmethod
    def leaves(self, x: Point | Tangent) -> list[Tensor]:
        """Return the factors of a point, or the blocks of a tangent vector in the order of their factors."""

    @abstractmethod
    def point(self, leaves: Sequence[Tensor]) -> Point:
        """Return the point with these leaves."""

    @abstractmethod
    def tangent(self, leaves: Sequence[Tensor]) -> Tangent:
        """Return the tangent vector with these leaves."""

    def check_ranks(self, ranks: Ranks) -> tuple[int, ...]:
        """Return the ranks as a tuple; a single number stands for all of them.

        Raises:
            ValueError: They are not as many as the format has, or not between 1 and ``full_ranks``.
        """
        given = (ranks,) if isinstance(ranks, int) else tuple(int(r) for r in ranks)
        full = self.full_ranks
        result = given * len(full) if len(given) == 1 else given
        if len(result) != len(full) or not all(1 <= r <= n for r, n in zip(result, full, strict=True)):
            raise ValueError(f"{self!r}: expected ranks between 1 and {full}, or one number for all, but got {ranks}.")
        return result

    def num_parameters(self, ranks: Ranks) -> int:
        """Return how many numbers a point of these ranks stores."""
        return sum(math.prod(shape) for shape in self.leaf_shapes(ranks))

    # --- points -----------------------------------------------------------------------------------------------

    @abstractmethod
    def random(
        self,
        ranks: Ranks,
        *,
        batch: Sequence[int] = (),
        scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Point:
        """Return a random point: uniform bases, a spectrum as flat as the format has it, Frobenius norm ``scale``."""

    def from_dense(
        self,
        w: Inexact[Tensor, "..."],
        *,
        ranks: Ranks | None = None,
        tol: float | None = None,
        budget: int | None = None,
    ) -> Point:
        """Return a quasi-best approximation of the dense ``w [*b, *shape]``; ``w`` itself if nothing is asked.

        Args:
            w: Dense tensors.
            ranks: The largest ranks.
            tol: Largest Frobenius error relative to ``|w|`` (as far as ``ranks`` allow it).
            budget: Largest number of stored parameters; chooses the ranks, so it excludes ``ranks`` and ``tol``.

        Raises:
            ShapeError: ``w`` does not end in ``shape``.
            ValueError: ``w`` is not finite, the ranks are impossible, or the budget is less than rank 1 needs.
        """
        self.check_dense(w)
        if not bool(torch.isfinite(w).all()):
            raise ValueError(f"{self!r}: expected finite numbers to decompose, but got infinite ones or NaN.")
        if budget is not None:
            if ranks is not None or tol is not None:
                raise ValueError(f"{self!r}: expected a budget or ranks and tol, but got both.")
            ranks = self.ranks_within(w, budget)
        return self.decompose(w, ranks=None if ranks is None else self.check_ranks(ranks), tol=tol)

    @abstractmethod
    def decompose(self, w: Inexact[Tensor, "..."], *, ranks: tuple[int, ...] | None, tol: float | None) -> Point:
        """Return ``from_dense``, its arguments checked."""

    @abstractmethod
    def ranks_within(self, w: Inexact[Tensor, "..."], budget: int) -> tuple[int, ...]:
        """Return the ranks, of at most ``budget`` parameters, that approximate ``w`` best (or nearly so)."""

    @abstractmethod
    def to_dense(self, x: Point) -> Inexact[Tensor, "..."]:
        """Return the dense tensor ``[*b, *shape]``."""

    @abstractmethod
    def truncate(self, y: Point, *, ranks: Ranks | None = None, tol: float | None = None) -> Point:
        """Return a quasi-best approximation of a point by one of lower rank.

        Args:
            y: The point; its bases need not be orthonormal.
            ranks: The largest ranks.
            tol: Largest error relative to ``|y|``, as far as ``ranks`` allow it. No rank falls below 1.
        """

    @abstractmethod
    def augment(self, x: Point, t: Tangent, max_ranks: Ranks | None = None) -> Point:
        """Return the same tensor in the bases ``[U | new directions of t]``, its core padded with zeros.

        The first columns of the bases are those of ``x``, the others the leading directions of the blocks of ``t``. The
        ranks double, as far as ``max_ranks`` (by default ``full_ranks``) allow it.
        """

    @abstractmethod
    def orthonormality(self, x: Point) -> Float[Tensor, "*b"]:
        """Return the largest ``|U^H U - 1|`` of the bases: 0 for a point."""

    # --- tangent vectors --------------------------------------------------------------------------------------

    @abstractmethod
    def gauge(self, x: Point, t: Tangent) -> Tangent:
        """Return ``t`` without what its blocks have in common with other blocks: each block in its tangent space.

        It makes the projection ``P_x(Z)`` of the blocks that contractions of Z with the factors of x give directly.
        """

    @abstractmethod
    def project(self, x: Point, z: Inexact[Tensor, "..."]) -> Tangent:
        """Return ``P_x(z)``, the tangent vector nearest to the dense ``z [*b, *shape]``."""

    @abstractmethod
    def transport(self, x: Point, t: Tangent, x_new: Point) -> Tangent:
        """Return ``P_(x_new)`` of the tangent vector ``t`` at ``x``, without dense tensors: a vector transport."""

    @abstractmethod
    def vector(self, x: Point, t: Tangent) -> Point:
        """Return the tangent vector itself, without x, as a tensor with up to twice the ranks, in the bases of embed.

        Its dense form is as exact as its own length allows, however long x is.
        """

    @abstractmethod
    def embed(self, x: Point, t: Tangent) -> Point:
        """Return the tensor ``x + t`` exactly, with up to twice the ranks."""

    def retract(self, x: Point, t: Tangent, ranks: Ranks | None = None) -> Point:
        """Return ``x + t`` truncated to ``ranks``, by default those of x: a retraction of second order."""
        return self.truncate(self.embed(x, t), ranks=self.ranks(x) if ranks is None else ranks)

    def zero(self, x: Point) -> Tangent:
        """Return the zero tangent vector at ``x``."""
        return self.tangent([torch.zeros_like(leaf) for leaf in self.leaves(x)])

    def combine(self, a: float | Tensor, t: Tangent, b: float | Tensor, s: Tangent) -> Tangent:
        """Return ``a t + b s`` of tangent vectors at one point."""
        return self.tangent([a * p + b * q for p, q in zip(self.leaves(t), self.leaves(s), strict=True)])

    def block_inner(self, t: Tangent, s: Tangent) -> Float[Tensor, "*b blocks"]:
        """Return ``Re <t_k, s_k>`` of each block k, in the order of the leaves."""
        products = []
        for p, q, shape in zip(self.leaves(t), self.leaves(s), self.leaf_shapes(1), strict=True):
            product = (p.conj() * q).real if p.is_complex() else p * q
            products.append(product.flatten(-len(shape)).sum(-1))
        return torch.stack(products, -1)

    def inner(self, t: Tangent, s: Tangent) -> Float[Tensor, "*b"]:
        """Return ``Re <t, s>``, the inner product of the dense tensors, for two vectors at one point."""
        return self.block_inner(t, s).sum(-1)

    def norm(self, t: Tangent) -> Float[Tensor, "*b"]:
        """Return ``|t|``, the Frobenius norm of the dense tensor."""
        return self.inner(t, t).sqrt()

    # --- checks and identity ----------------------------------------------------------------------------------

    @property
    def spec(self) -> dict[str, Any]:
        """The class and its arguments as plain data: ``{"class_path": ..., "init_args": {...}}``."""
        return {"class_path": f"isometry.manifolds.low_rank.{type(self).__name__}", "init_args": self._arguments}

    @property
    def _arguments(self) -> dict[str, Any]:
        return {"shape": list(self.shape)}

    def check_dense(self, w: Tensor) -> None:
        """Raise ``ShapeError`` unless ``w`` ends in ``shape``."""
        if tuple(w.shape[-len(self.shape) :]) != self.shape:
            raise ShapeError(
                f"{self!r}: a dense tensor ends in dimensions {self.shape}, but this one has shape {tuple(w.shape)}."
            )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, LowRankManifold) and self.shape == other.shape

    def __hash__(self) -> int:
        return hash((type(self), self.shape))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self.shape))})"
