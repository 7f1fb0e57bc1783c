"""Sums of Kronecker products as matrices of fixed rank."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Inexact
from torch import Tensor

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank.matrix import FixedRankMatrix, MatrixPoint


class KroneckerRearrangement:
    r"""The rearrangement of Van Loan and Pitsianis: Kronecker products become matrices of rank 1.

    ``R(A (x) S) = vec(A) vec(S)^T``, so that ``W = sum_(i <= r) A_i (x) S_i`` is a matrix of rank r, and the best
    approximation by r Kronecker products is a truncated singular value decomposition. It only permutes entries: norms
    and inner products stay. A layer of n hypercomplex products (PHM) is the case ``left = (n, n)``, rank n.

    Tensors of any order have Kronecker products, mode by mode; for the kernels of a convolution, ``[out, in, h, w]``,
    take ``left = (n, n, 1, 1)``. Leading dimensions are batch.

    Args:
        shape: The shape of W.
        left: The shape of A, which divides that of W mode by mode; ``right``, that of S, is the quotient.

    Raises:
        ShapeError: The sizes do not divide.

    Source: Van Loan & Pitsianis 1993, Approximation with Kronecker products; Zhang et al. 2021, Beyond fully-connected
        layers with quaternions (PHM).
    """

    def __init__(self, shape: Sequence[int], left: Sequence[int]) -> None:
        self.shape, self.left = tuple(shape), tuple(left)
        if len(self.shape) != len(self.left) or any(a < 1 or n % a for n, a in zip(shape, left, strict=True)):
            raise ShapeError(
                f"KroneckerRearrangement: expected left factors that divide the shape {self.shape} mode by mode, "
                f"but got {self.left}."
            )
        self.right = tuple(n // a for n, a in zip(self.shape, self.left, strict=True))

    @property
    def manifold(self) -> FixedRankMatrix:
        """The manifold of the rearranged matrices, ``prod(left) x prod(right)``."""
        return FixedRankMatrix(math.prod(self.left), math.prod(self.right))

    def rearrange(self, w: Inexact[Tensor, "..."]) -> Inexact[Tensor, "*b left right"]:
        """Return ``R(w)[(a, b, ..), (c, d, ..)] = w[a right_1 + c, b right_2 + d, ..]`` of ``w [*b, *shape]``."""
        batch, d = self._batch(w, self.shape), len(self.shape)
        pairs = [n for pair in zip(self.left, self.right, strict=True) for n in pair]
        apart = w.reshape(*batch, *pairs).movedim(self._lefts, tuple(range(-2 * d, -d)))
        return apart.reshape(*batch, *self.manifold.shape)

    def restore(self, r: Inexact[Tensor, "*b left right"]) -> Inexact[Tensor, "..."]:
        """Return ``w [*b, *shape]`` with ``R(w) = r``."""
        batch, d = self._batch(r, self.manifold.shape), len(self.shape)
        apart = r.reshape(*batch, *self.left, *self.right)
        return apart.movedim(tuple(range(-2 * d, -d)), self._lefts).reshape(*batch, *self.shape)

    @property
    def _lefts(self) -> tuple[int, ...]:
        """The places of the left factors among all factors, mode by mode."""
        return tuple(range(-2 * len(self.shape), 0, 2))

    @staticmethod
    def _batch(w: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
        batch, rest = w.shape[: w.ndim - len(shape)], w.shape[w.ndim - len(shape) :]
        if w.ndim < len(shape) or tuple(rest) != shape:
            raise ShapeError(
                f"KroneckerRearrangement: expected a shape that ends in {shape}, but got {tuple(w.shape)}."
            )
        return tuple(batch)

    def factors(self, x: MatrixPoint) -> tuple[Inexact[Tensor, "..."], Inexact[Tensor, "..."]]:
        """Return ``A [*b, r, *left]`` and ``S [*b, r, *right]`` of ``w = sum_i A_i (x) S_i``, ``R(w) = x``."""
        return (x.U @ x.S).mT.unflatten(-1, self.left), x.V.mH.unflatten(-1, self.right)

    def point(self, a: Inexact[Tensor, "..."], s: Inexact[Tensor, "..."]) -> MatrixPoint:
        """Return the point of ``sum_i A_i (x) S_i``, ``A [*b, r, *left]`` and ``S [*b, r, *right]``."""
        d = len(self.shape)
        ones = torch.ones(a.shape[-d - 1], dtype=a.dtype, device=a.device)
        return self.manifold.truncate(MatrixPoint(a.flatten(-d).mT, ones.diag(), s.flatten(-d).mH))
