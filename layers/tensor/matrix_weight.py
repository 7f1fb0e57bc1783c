"""Weights that are matrices of low rank: unfolded, or rearranged into sums of Kronecker products."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from isometry.layers.tensor._convolve import Geometry, apart, convolve, pointwise, together
from isometry.layers.tensor._tangent import KroneckerConvolution, KroneckerProduct, LowRankProduct
from isometry.layers.tensor._work import Size, Work, product
from isometry.layers.tensor.fold import Fold, checked_fold
from isometry.layers.tensor.weight import Frame, Leaves, TensorWeight, plus
from isometry.manifolds.low_rank import FixedRankMatrix, KroneckerRearrangement

_LARGE_BATCH = 128


class MatrixWeight(TensorWeight):
    """A weight that is a matrix ``U S V^T`` after a permutation of its entries."""

    def leaf_names(self) -> Sequence[str]:
        """Return the names of U, S and V."""
        return ("U", "S", "V")

    def frames(self, leaves: Leaves) -> list[Frame]:
        """Return U and V without the core between them: ``K = G V`` and ``L = G^T U``."""
        U, S, V = leaves
        return [((U, torch.eye(*S.shape, dtype=S.dtype, device=S.device), V), (0, 2))]

    @property
    def room(self) -> tuple[int, int]:
        """The numbers of columns of U and of V."""
        p, q = self._manifold.ranks(self._manifold.point(self.leaves))
        return p, q

    def assembly_work(self) -> Work:
        """Return the work of ``(U S) V^T``."""
        (m, n), (p, q) = self._manifold.shape, self.room
        return product(m, p, q) + product(m, q, n)


class LowRankWeight(MatrixWeight):
    """``W = U S V^T``, for a convolution unfolded to ``out x (in k)``: a kernel of r channels, then a matrix.

    Source: Schotthoefer et al. 2022, Low-rank lottery tickets.
    """

    def configure(self, fold: Fold | None) -> None:
        """Set the manifold of ``out x (in k)`` matrices."""
        if fold is not None:
            raise ValueError(f"LowRankWeight: expected no fold, for nothing is folded, but got {fold}.")
        self.manifold = FixedRankMatrix(self.shape[0], math.prod(self.shape[1:]))

    def folded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the weight as a matrix."""
        return w.flatten(1)

    def unfolded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the matrix as a weight."""
        return w.reshape(self.shape)

    def linear(self, x: Float[Tensor, "n i"], leaves: Leaves, bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return ``U S V^T x + bias``."""
        U, S, V = leaves
        return F.linear(F.linear(x @ V, S), U, bias)

    def tangent_linear(self, x: Float[Tensor, "n i"], bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return ``W x + bias``, with the blocks of the gradient made in one backward."""
        return LowRankProduct.apply(x, *self.leaves, bias)

    def convolved(
        self, x: Float[Tensor, "n i ..."], leaves: Leaves, bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return the convolution with the kernels in V, and U S at each place."""
        U, S, V = leaves
        kernels = V.mT.reshape(-1, *self.shape[1:])
        z = convolve(apart(x, geometry.groups), kernels, geometry._replace(groups=1))
        return pointwise(together(z, geometry.groups), U @ S, geometry.groups, bias)

    def tangent_convolved(
        self, x: Float[Tensor, "n i ..."], bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return the same, with the blocks of the gradient made in one backward."""
        return KroneckerConvolution.apply(x, bias, tuple(geometry), self.shape[0], self.shape[1:], *self.leaves)

    def rows(self, index: Int[Tensor, "n"], leaves: Leaves, bias: None) -> Float[Tensor, "n i"]:
        """Return rows of U, times ``S V^T``."""
        U, S, V = leaves
        return F.embedding(index, U) @ S @ V.mT

    def contraction_work(self, size: Size, groups: int) -> Work:
        """Return the work of the kernels and the two matrices."""
        (m, n), (p, q) = self._manifold.shape, self.room
        return product(size.outputs * groups, n, q) + product(m, p, q) + product(size.outputs, p, m)

    def row_work(self, count: int) -> Work:
        """Return the work of the two products."""
        p, q = self.room
        return product(count, p, q) + product(count, q, self.shape[1])


class KroneckerWeight(MatrixWeight):
    """``W = sum_i A_i (x) S_i``: ``U S`` has the entries of ``A_i [n1, m1]``, V those of ``S_i [n2, m2, *kernel]``.

    The fold is ``((n1, n2), (m1, m2))``. A layer of n hypercomplex products (PHM) has ``n1 = m1 = n`` and rank n.

    Source: Zhang et al. 2021, Beyond fully-connected layers with quaternions; Van Loan & Pitsianis 1993.
    """

    def configure(self, fold: Fold | None) -> None:
        """Set the rearrangement and its manifold."""
        out, inp = checked_fold(self.shape[0], self.shape[1], fold)
        if len(out) != 2 or len(inp) != 2:
            raise ValueError(f"KroneckerWeight: expected a fold into two modes each, but got {out} and {inp}.")
        (self.n1, self.n2), (self.m1, self.m2) = out, inp
        self.rearrangement = KroneckerRearrangement(self.shape, (self.n1, self.m1, *[1] * len(self.kernel)))
        self.manifold = self.rearrangement.manifold

    def folded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the rearranged weight."""
        return self.rearrangement.rearrange(w)

    def unfolded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the inverse of the rearrangement."""
        return self.rearrangement.restore(w)

    def _factors(self, leaves: Leaves) -> tuple[Tensor, Tensor]:
        """Return the entries of A as ``[n1, m1 r]`` and the kernels S as ``[r n2, m2, *kernel]``."""
        U, S, V = leaves
        return (U @ S).reshape(self.n1, -1), V.mT.reshape(-1, self.m2, *self.kernel)

    def linear(self, x: Float[Tensor, "n i"], leaves: Leaves, bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return ``Y = sum_i A_i X S_i^T`` with X the vector as an ``m1 x m2`` matrix, and the bias added."""
        A, kernels = self._factors(leaves)
        if len(x) < _LARGE_BATCH:
            z = F.linear(x.reshape(-1, self.m2), kernels).view(len(x), -1, self.n2)
            y = torch.bmm(A.expand(len(x), -1, -1), z).reshape(len(x), -1)
        else:  # the batch as the last dimension, so that products are few and large
            columns = x.unflatten(-1, (self.m1, self.m2)).permute(1, 2, 0)
            z = torch.bmm(kernels.expand(self.m1, -1, -1), columns)
            y = (A @ z.reshape(A.shape[1], -1)).reshape(-1, len(x)).mT.contiguous()
        return plus(y, bias)

    def tangent_linear(self, x: Float[Tensor, "n i"], bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return the same, with the blocks of the gradient made in one backward."""
        x = x.unflatten(-1, (self.m1, self.m2))
        if len(x) < _LARGE_BATCH:
            y = KroneckerProduct.apply(x.unsqueeze(-1), *self.leaves, self.n1).flatten(1)
        else:
            y = KroneckerProduct.apply(x.permute(1, 2, 0).unsqueeze(0), *self.leaves, self.n1)
            y = y.reshape(-1, len(x)).mT.contiguous()
        return plus(y, bias)

    def convolved(
        self, x: Float[Tensor, "n i ..."], leaves: Leaves, bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return the convolution with all S_i, then the A_i at each place."""
        A, kernels = self._factors(leaves)
        groups, count = geometry.groups, len(x)
        z = convolve(apart(x, groups * self.m1), kernels, geometry._replace(groups=1))
        space = z.shape[2:]
        z = z.reshape(count, groups, A.shape[1], -1)
        y = (A.unflatten(0, (groups, -1)) @ z).reshape(count, self.shape[0], *space)
        return plus(y.movedim(1, -1), bias).movedim(-1, 1)

    def tangent_convolved(
        self, x: Float[Tensor, "n i ..."], bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return the same, with the blocks of the gradient made in one backward."""
        return KroneckerConvolution.apply(x, bias, tuple(geometry), self.n1, (self.m2, *self.kernel), *self.leaves)

    def rows(self, index: Int[Tensor, "n"], leaves: Leaves, bias: None) -> Float[Tensor, "n i"]:
        """Return ``sum_i A_i[a, :] (x) S_i[c, :]`` of the rows ``a n2 + c``."""
        U, S, V = leaves
        A = F.embedding(index // self.n2, (U @ S).reshape(self.n1, -1)).unflatten(-1, (self.m1, -1))
        B = F.embedding(index % self.n2, V.reshape(self.n2, -1)).unflatten(-1, (self.m2, -1))
        return (A @ B.mT).flatten(1)

    def contraction_work(self, size: Size, groups: int) -> Work:
        """Return the work of the kernels, then the matrices A; infinite where a group would cut through one of them."""
        p, q = self.room
        if self.n1 % groups:
            return math.inf
        kernels = product(size.outputs * groups * self.m1, self.m2 * math.prod(self.kernel), q * self.n2)
        places = size.outputs * self.n2
        return kernels + product(self.n1 * self.m1, p, q) + product(places, self.m1 * q, self.n1)

    def row_work(self, count: int) -> Work:
        """Return the work of the products of rows."""
        p, q = self.room
        return product(self.n1 * self.m1, p, q) + count * product(self.m1, q, self.m2)
