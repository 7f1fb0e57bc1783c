"""Symmetric positive definite matrices with the log-Cholesky metric."""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._smooth import with_value
from isometry.manifolds._spd import SPD, cholesky, differentiated, lower_inverse, symmetric_part
from isometry.manifolds._spd_flat import Chart, FlatInChart


def _diagonal(x: Tensor) -> Tensor:
    return x.diagonal(dim1=-2, dim2=-1)


def _triangular(strict: Tensor, diagonal: Tensor) -> Tensor:
    """Return the lower triangular matrix with what is below the diagonal of ``strict``, and ``diagonal``."""
    return strict.tril(-1) + diagonal.diag_embed()


def _lower_half(x: Tensor) -> Tensor:
    """Return the lower triangular H with ``H + H^T = x`` for symmetric ``x``."""
    return _triangular(x, _diagonal(x) / 2)


class CholeskyChart(Chart):
    """The factor L of ``x = L L^T`` with the logarithm of its diagonal, onto the lower triangular matrices.

    Args:
        x: Positive definite ``[*b, n, n]``.
    """

    def __init__(self, x: Float[Tensor, "*b n n"]) -> None:
        self.x = x
        self.lower = cholesky(x)

    def coordinates(self) -> Tensor:
        """Return L with the logarithm of its diagonal."""
        return _triangular(self.lower, _diagonal(self.lower).log())

    def push(self, u: Tensor) -> Tensor:
        """Return the differential: ``D L = L half(L^-1 u L^-T)``, its diagonal divided by that of L."""
        inverse = lower_inverse(self.lower)
        half = _lower_half(inverse @ u @ inverse.mT)
        return _triangular(self.lower @ half, _diagonal(half))

    def pull(self, w: Tensor) -> Tensor:
        """Return ``D L L^T + L D L^T``."""
        product = _triangular(w, _diagonal(w) * _diagonal(self.lower)) @ self.lower.mT
        return product + product.mT

    def pull_adjoint(self, g: Tensor) -> Tensor:
        """Return the lower triangle of ``2 g L``, its diagonal multiplied by that of L."""
        product = 2 * g @ self.lower
        return _triangular(product, _diagonal(product) * _diagonal(self.lower))

    def to(self, other: "CholeskyChart") -> Tensor:
        """Return the difference of the coordinates, for close pairs from that of the matrices."""
        value = self._difference(other)
        if not differentiated(self.x, other.x):
            return value
        return with_value(value, other.coordinates() - self.coordinates())

    def _difference(self, other: "CholeskyChart") -> Tensor:
        r"""Return ``D = L_y - L_x`` and ``log(1 + D_ii / L_ii)``.

        ``M D^T + D M^T = y - x`` with ``M = (L_x + L_y)/2``. For close pairs one Newton step on this equation,
        ``D + L_y half(L_y^-1 R L_y^-T)`` with its residual R, removes what rounding the factors did to D.
        """
        with torch.no_grad():
            difference = other.lower - self.lower
            inverse = lower_inverse(other.lower)
            half = (self.lower + other.lower) @ difference.mT / 2
            residual = inverse @ (other.x - self.x - half - half.mT) @ inverse.mT
            near = torch.linalg.matrix_norm(inverse @ difference, keepdim=True) < 0.5
            difference = difference + torch.where(near, other.lower @ _lower_half(residual), 0)
            change = _diagonal(difference) / _diagonal(self.lower)
            small = change.abs() < 0.5
            ratio = _diagonal(other.lower) / _diagonal(self.lower)
            return _triangular(difference, torch.where(small, change.log1p(), ratio.log()))


class SPDLogCholesky(FlatInChart, SPD):
    r"""Positive definite ``n x n`` matrices, flat in the Cholesky factor with the logarithm of its diagonal.

    With ``x = L L^T`` and ``y = K K^T``, ``d^2 = sum_(i>j) (L_ij - K_ij)^2 + sum_i (log L_ii - log K_ii)^2``. No
    operation needs an eigendecomposition, and Frechet means are closed; the metric depends on the order of the rows.

    Accuracy (float64): the distance of pairs 1e-6 apart is right to 1e-12 at condition 1e4 (docs/accuracy.md). NaN
    where an argument is not positive definite.

    Source: Lin 2019, Riemannian geometry of symmetric positive definite matrices via Cholesky decomposition.
    """

    def _chart(self, x: Tensor) -> CholeskyChart:
        return CholeskyChart(x)

    def _point(self, coordinates: Tensor) -> Tensor:
        lower = _triangular(coordinates, _diagonal(coordinates).exp())
        return symmetric_part(lower @ lower.mT)

    def _flat(self, z: Tensor) -> Tensor:
        rows, columns = torch.tril_indices(self.n, self.n, device=z.device)
        index = torch.zeros(self.n, self.n, dtype=torch.long, device=z.device)
        index[rows, columns] = torch.arange(self.dim, device=z.device)
        return z[..., index].tril()

    def _flattened(self, w: Tensor) -> Tensor:
        rows, columns = torch.tril_indices(self.n, self.n, device=w.device)
        return w[..., rows, columns]
