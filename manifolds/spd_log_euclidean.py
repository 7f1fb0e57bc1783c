"""Symmetric positive definite matrices with the log-Euclidean metric."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._spd import SPD, symmetric_coordinates, symmetric_matrix, symmetric_part
from isometry.manifolds._spd_flat import Chart, FlatInChart
from isometry.manifolds.spectral import (
    EXP,
    LOG,
    Spectrum,
    spectrum,
    sym_derivative,
    sym_difference,
    sym_exp,
    sym_function,
)


class LogChart(Chart):
    """The matrix logarithm, onto the symmetric matrices.

    Args:
        x: Positive definite ``[*b, n, n]``.
    """

    def __init__(self, x: Float[Tensor, "*b n n"]) -> None:
        self.x = x
        values, vectors = spectrum(x)
        self.spectrum = Spectrum(torch.where(values[..., :1] > 0, values, math.nan), vectors)

    def coordinates(self) -> Tensor:
        """Return ``log x``."""
        return symmetric_part(sym_function(self.x, LOG, self.spectrum))

    def push(self, u: Tensor) -> Tensor:
        """Return ``D log(x)[u]``."""
        return symmetric_part(sym_derivative(self.x, LOG, u, self.spectrum))

    def pull(self, w: Tensor) -> Tensor:
        """Return ``D exp(log x)[w]``."""
        logs = Spectrum(self.spectrum.values.log(), self.spectrum.vectors)
        return symmetric_part(sym_derivative(self.coordinates(), EXP, w, logs))

    def pull_adjoint(self, g: Tensor) -> Tensor:
        """Return ``D exp(log x)[g]``: the differential of a matrix function is self-adjoint."""
        return self.pull(g)

    def to(self, other: "LogChart") -> Tensor:
        """Return ``log(other) - log(x)`` by the identity of double operator integrals."""
        return sym_difference(other.x, self.x, LOG, (other.spectrum, self.spectrum))


class SPDLogEuclidean(FlatInChart, SPD):
    r"""Positive definite ``n x n`` matrices with ``<u, v>_x = tr(D log(x)[u] D log(x)[v])``: flat in ``log x``.

    Distances ``|log x - log y|`` do not change under rotations ``x -> q x q^T``, inversion and scaling. Frechet means
    are closed.

    Accuracy (float64): the distance of pairs 1e-6 apart is right to 1e-12 at condition 1e4; of far pairs, to the
    condition number times eps (docs/accuracy.md). NaN where an argument is not positive definite.

    Source: Arsigny, Fillard, Pennec & Ayache 2007.
    """

    def _chart(self, x: Tensor) -> LogChart:
        return LogChart(x)

    def _point(self, coordinates: Tensor) -> Tensor:
        return symmetric_part(sym_exp(coordinates))

    def _flat(self, z: Tensor) -> Tensor:
        return symmetric_matrix(z, self.n)

    def _flattened(self, w: Tensor) -> Tensor:
        return symmetric_coordinates(w)
