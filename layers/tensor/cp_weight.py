"""Weights that are sums of products of vectors."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from isometry.layers.tensor._convolve import Geometry, apart, convolve, pointwise, together
from isometry.layers.tensor._modes import digits
from isometry.layers.tensor._work import BALANCE, Size, Work, product
from isometry.layers.tensor.fold import Fold, checked_fold
from isometry.layers.tensor.weight import Leaves, TensorWeight, plus
from isometry.manifolds.low_rank.base import Ranks
from isometry.manifolds.low_rank.cp import CPFit, cp_als, khatri_rao, reduce_sensitivity

_SLACK = 1.001
"""By how much the error of a fit may grow while its terms are made to cancel less."""
_ROUNDING = 1e-9
_SWEEPS = 20


class CPWeight(TensorWeight):
    """``W = sum_(i <= r) u_i^1 o ... o u_i^d`` with the vectors of mode k as columns of leaf k, ``[n_k, r]``.

    The modes of a matrix are those of its fold, so that it is ``A B^T`` with the Khatri-Rao products A, B of the
    factors of its rows and columns; those of a convolution are out, in and each way of the kernel. Limits of such
    tensors have larger rank: this is no manifold, and the norm of the terms may grow without bound as they fit.

    Source: Lebedev et al. 2015, Speeding-up convolutional neural networks using fine-tuned CP-decomposition.
    """

    def configure(self, fold: Fold | None) -> None:
        """Set the modes."""
        rows, columns = self.shape[:2]
        if self.kernel and fold is not None:
            raise ValueError(f"{type(self).__name__}: expected no fold of a convolution's channels, but got {fold}.")
        self.out, self.inp = ((rows,), (columns,)) if self.kernel else checked_fold(rows, columns, fold)
        self.modes = (*self.out, *self.inp, *self.kernel)

    def leaf_names(self) -> Sequence[str]:
        """Return the names of the factors."""
        return [f"F{k}" for k in range(len(self.modes))]

    def draw(self, ranks: Ranks, norm: float, dtype: torch.dtype) -> list[Tensor]:
        """Return normal factors of one variance, whose tensor has this norm in the mean of squares."""
        r = self._rank(ranks)
        variance = (norm**2 / (math.prod(self.modes) * r)) ** (1 / len(self.modes))
        return [torch.randn(n, r, dtype=dtype) * variance**0.5 for n in self.modes]

    def decompose(self, w: Tensor, ranks: Ranks | None, tol: float | None, budget: int | None) -> list[Tensor]:
        """Return the terms of alternating least squares, their sensitivity lowered at (nearly) the same error.

        With ``tol`` the number of terms is the least that was found to reach it, by bisection.

        Source: Phan et al. 2020, Stable low-rank tensor decomposition for compression of convolutional neural networks.
        """
        if budget is not None and (ranks is not None or tol is not None):
            raise ValueError(f"{type(self).__name__}: expected a budget or ranks and tol, but got both.")
        dense = self.folded(w).double()
        fit = self._least(dense, tol, ranks) if tol is not None else cp_als(dense, self._affordable(ranks, budget))
        bound = fit.error * _SLACK if tol is None else max(tol * (1 - _ROUNDING), fit.error * (1 + _ROUNDING))
        return list(reduce_sensitivity(dense, fit.factors, bound, sweeps=_SWEEPS))

    def _affordable(self, ranks: Ranks | None, budget: int | None) -> int:
        """Return the number of terms that is asked for, or that a budget pays."""
        if budget is None:
            return self._rank(0 if ranks is None else ranks)
        if budget < sum(self.modes):
            raise ValueError(
                f"{type(self).__name__}: expected a budget of at least {sum(self.modes)} parameters, those of one "
                f"term, but got {budget}."
            )
        return budget // sum(self.modes)

    def _least(self, w: Tensor, tol: float, ranks: Ranks | None) -> CPFit:
        """Return the fit with the least number of terms that reaches the tolerance, as far as ``ranks`` allows."""
        most = math.prod(self.modes) // max(self.modes) if ranks is None else self._rank(ranks)
        low, high = 0, 1
        fit = cp_als(w, high)
        while fit.error > tol and high < most:
            low, high = high, min(2 * high, most)
            fit = cp_als(w, high)
        while fit.error <= tol and high - low > 1:
            middle = (low + high) // 2
            trial = cp_als(w, middle)
            if trial.error <= tol:
                fit, high = trial, middle
            else:
                low = middle
        return fit

    def _rank(self, ranks: Ranks) -> int:
        r = ranks if isinstance(ranks, int) else 0
        if r < 1:
            raise ValueError(f"{type(self).__name__}: expected one number of terms, at least 1, but got {ranks}.")
        return r

    def folded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the weight with its modes apart."""
        return w.reshape(self.modes)

    def unfolded(self, w: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the tensor with its modes together."""
        return w.reshape(self.shape)

    def _parts(self, leaves: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        """Return the factors of the outputs, of the inputs and of the kernel."""
        a = len(self.out)
        b = a + len(self.inp)
        return leaves[:a], leaves[a:b], leaves[b:]

    def assembled(self, leaves: Leaves) -> Float[Tensor, "..."]:
        """Return the product of the Khatri-Rao products of the factors of rows and of all others."""
        a = len(self.out)
        return self.unfolded(khatri_rao(leaves[:a]) @ khatri_rao(leaves[a:]).mT)

    def linear(self, x: Float[Tensor, "n i"], leaves: Leaves, bias: Float[Tensor, "o"] | None) -> Float[Tensor, "n o"]:
        """Return ``A B^T x + bias``; for few x without the matrices A and B, mode by mode."""
        outs, ins, _ = self._parts(leaves)
        if not self._mode_by_mode(len(x)):
            return F.linear(x @ khatri_rao(ins), khatri_rao(outs), bias)
        z = x.unflatten(-1, self.inp) @ ins[-1]
        for U in reversed(ins[:-1]):
            z = (z * U).sum(-2)
        for U in outs[:-1]:
            z = z.unsqueeze(-2) * U
        y = (z @ outs[-1].mT).reshape(len(x), -1)
        return plus(y, bias)

    def _mode_by_mode(self, count: int) -> bool:
        """Return whether fewer numbers are written than A and B have."""
        return count < min(self.out[-1], self.inp[-1])

    def convolved(
        self, x: Float[Tensor, "n i ..."], leaves: Leaves, bias: Float[Tensor, "o"] | None, geometry: Geometry
    ) -> Float[Tensor, "n o ..."]:
        """Return a matrix at each place, one kernel for each of its r channels, a matrix at each place."""
        (out,), (inp,), ways = self._parts(leaves)
        z = self.spread(pointwise(apart(x, geometry.groups), inp.mT), ways, geometry)
        return pointwise(together(z, geometry.groups), out, geometry.groups, bias)

    def spread(self, z: Float[Tensor, "n r ..."], ways: Leaves, geometry: Geometry) -> Float[Tensor, "n r ..."]:
        """Return the channels convolved with one kernel each."""
        kernels = khatri_rao(ways).mT.reshape(-1, 1, *self.kernel)
        return convolve(z, kernels, geometry._replace(groups=len(kernels)))

    def rows(self, index: Int[Tensor, "n"], leaves: Leaves, bias: None) -> Float[Tensor, "n i"]:
        """Return the rows of A, products of rows of the factors, times ``B^T``."""
        outs, ins, _ = self._parts(leaves)
        z = torch.stack([F.embedding(i, U) for i, U in zip(digits(index, self.out), outs, strict=True)]).prod(0)
        return z @ khatri_rao(ins).mT

    @property
    def terms(self) -> int:
        """The number r of terms."""
        return self.leaves[0].shape[1]

    def contraction_work(self, size: Size, groups: int) -> Work:
        """Return the work of the factors of the inputs, of the kernels and of the factors of the outputs."""
        (rows, columns), r = self.shape[:2], self.terms
        ends = product(size.inputs * groups, columns, r) + product(size.outputs, r, rows)
        if self.kernel:
            return ends + size.outputs * groups * r * (math.prod(self.kernel) + 2 * BALANCE)
        written = rows + columns
        if self._mode_by_mode(size.inputs):
            written = size.inputs * (rows // self.out[-1] + columns // self.inp[-1])
        return ends + BALANCE * written * r

    def row_work(self, count: int) -> Work:
        """Return the work of the factors of the columns."""
        return BALANCE * self.shape[1] * self.terms + product(count, self.terms, self.shape[1])

    def assembly_work(self) -> Work:
        """Return the work of the products of matrices."""
        rows, others, r = self.shape[0], math.prod(self.shape[1:]), self.terms
        return BALANCE * (rows + others) * r + product(rows, r, others)


class ChainWeight(CPWeight):
    """The same tensors for a convolution, each channel's kernel as a chain of filters along one way each.

    A chain of k-way filters needs the sum of the kernel's sizes instead of their product, and passes over the data once
    for each way.
    """

    def configure(self, fold: Fold | None) -> None:
        """Set the modes."""
        if not self.kernel:
            raise ValueError("ChainWeight: expected the weight of a convolution, for a matrix use the format 'cp'.")
        super().configure(fold)

    def spread(self, z: Float[Tensor, "n r ..."], ways: Leaves, geometry: Geometry) -> Float[Tensor, "n r ..."]:
        """Return the channels convolved along one way after the other."""
        for way, U in enumerate(ways):
            size = [1] * len(ways)
            size[way] = len(U)
            z = convolve(z, U.mT.reshape(-1, 1, *size), geometry.along(way)._replace(groups=U.shape[1]))
        return z
