"""The power deformation of a geometry of symmetric positive definite matrices."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from isometry.manifolds._spd import SPD, symmetric_part
from isometry.manifolds._spd_flat import Chart
from isometry.manifolds._spd_pullback import PullBack
from isometry.manifolds.base import Manifold
from isometry.manifolds.spectral import Power, Spectrum, spectrum, sym_derivative, sym_difference, sym_function


class PowerChart(Chart):
    """The matrix power ``x^theta``.

    Args:
        x: Positive definite ``[*b, n, n]``.
        power: ``Power(theta)``.
        root: ``Power(1 / theta)``.
    """

    def __init__(self, x: Float[Tensor, "*b n n"], power: Power, root: Power) -> None:
        self.x, self.power, self.root = x, power, root
        self.spectrum = spectrum(x)
        self._image = symmetric_part(sym_function(x, self.power, self.spectrum))

    def coordinates(self) -> Tensor:
        """Return ``x^theta``."""
        return self._image

    def push(self, u: Tensor) -> Tensor:
        """Return ``D power(x)[u]``."""
        return symmetric_part(sym_derivative(self.x, self.power, u, self.spectrum))

    def pull(self, w: Tensor) -> Tensor:
        """Return ``D root(x^theta)[w]``."""
        values, vectors = self.spectrum
        powers = Spectrum(values**self.power.p, vectors)
        return symmetric_part(sym_derivative(self._image, self.root, w, powers))

    def pull_adjoint(self, g: Tensor) -> Tensor:
        """Return ``D root(x^theta)[g]``: the differential of a matrix function is self-adjoint."""
        return self.pull(g)

    def to(self, other: "PowerChart") -> Tensor:
        """Return ``other^theta - x^theta`` by the identity of double operator integrals."""
        return sym_difference(other.x, self.x, self.power, (other.spectrum, self.spectrum))


class PowerDeformed(PullBack):
    r"""Positive definite matrices with the distance ``d(x^theta, y^theta) / |theta|`` of another geometry d of them.

    ``theta = 1`` is the geometry itself. As ``theta`` tends to 0 distances tend to ``|log x - log y|`` in the norm of
    the tangent space at the identity: log-Euclidean for the affine-invariant geometry, half of that for
    Bures-Wasserstein's.

    Accuracy: the images ``x^theta`` lose ``eps/|theta|`` of what tells points apart; below ``|theta| = 1e-3`` take the
    limit. Over the Bures-Wasserstein geometries the distance of close pairs keeps its relative accuracy.

    Args:
        manifold: Any geometry of positive definite matrices.
        theta: The exponent, not 0; negative ones are allowed.

    Source: Thanwerdas & Pennec 2022, The geometry of mixed-Euclidean metrics on symmetric positive definite matrices,
    section 2.
    """

    def __init__(self, manifold: Manifold, theta: float) -> None:
        if not isinstance(manifold, SPD):
            raise ValueError(f"PowerDeformed: expected a geometry of positive definite matrices, but got {manifold!r}.")
        if not math.isfinite(theta) or theta == 0:
            raise ValueError(
                f"PowerDeformed: expected a finite exponent other than 0, but got theta={theta}. "
                "The limit at 0 is a multiple of SPDLogEuclidean."
            )
        super().__init__(manifold, 1 / abs(theta))
        self.theta = float(theta)
        self._power, self._root = Power(self.theta), Power(1 / self.theta)

    def with_dim(self, dim: int) -> Self:
        """Return the deformation of the same geometry in another dimension."""
        return type(self)(self.manifold.with_dim(dim), self.theta)

    def extra_repr(self) -> str:
        """Return the geometry and the exponent."""
        return f"{self.manifold!r}, theta={self.theta}"

    def _chart(self, x: Tensor) -> PowerChart:
        return PowerChart(x, self._power, self._root)

    def from_image(self, coordinates: Tensor) -> Tensor:
        """Return ``coordinates^(1/theta)``."""
        # NaN, where a geodesic has ended, has no eigenvalues
        number = coordinates.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
        eye = torch.eye(self.n, dtype=coordinates.dtype, device=coordinates.device)
        x = sym_function(torch.where(number, coordinates, eye), self._root)
        return torch.where(number, symmetric_part(x), math.nan)
