"""Diagonal normal distributions with the Fisher-Rao metric."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._gaussian import Gaussian
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import asinhc_sqrt, cosh_sqrt, log_sinhc_sqrt, sinhc_sqrt
from isometry.manifolds.base import HomogeneousManifold

_ROOT2 = math.sqrt(2)


def _separation(x: Float[Tensor, "*#b 2 k"], y: Float[Tensor, "*#b 2 k"]) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``D_mu/sigma_y``, ``D_sigma/sigma_y`` and ``q = (D_mu^2/2 + D_sigma^2)/(4 sigma_x sigma_y)``."""
    mean, std = (y - x).unbind(-2)
    s, t = x[..., 1, :], y[..., 1, :]
    # quotients first: the products would leave the format's range long before the points do
    q = (mean / s * (mean / t) / 2 + std / s * (std / t)) / 4
    return mean / t, std / t, q


def variable_dist2(x: Float[Tensor, "*#b 2 k"], y: Float[Tensor, "*#b 2 k"]) -> Float[Tensor, "*b k"]:
    r"""Return the squared distance of each variable's normals, ``8 asinh^2(sqrt(q))``.

    The textbooks' ``sqrt(2) arcosh(1 + 2q)``, as an analytic function of ``q`` without cancellation.
    Source: Costa, Santos & Strapasson 2015.
    """
    q = _separation(x, y)[2]
    return 8 * q * asinhc_sqrt(q).square()


def logmap(x: Float[Tensor, "*#b 2 k"], y: Float[Tensor, "*#b 2 k"]) -> Float[Tensor, "*b 2 k"]:
    r"""Return ``sigma_x f(q) (D_mu/sigma_y, 2q + D_sigma/sigma_y)`` with ``f(q) = asinh(sqrt(q))/sqrt(q (1 + q))``.

    That is the log of the half-plane, carried from its Cayley image in the disk, where it is radial.
    """
    mean, std, q = _separation(x, y)
    return x[..., 1:, :] * torch.stack([mean, 2 * q + std], -2) * (asinhc_sqrt(q) / (1 + q).sqrt()).unsqueeze(-2)


def _fall(rise: Float[Tensor, "*b k"], across2: Float[Tensor, "*b k"]) -> Float[Tensor, "*b k"]:
    r"""Return ``sigma/sigma'`` after a unit time with velocity ``rise`` along and ``sqrt(across2)`` across the axis.

    ``cosh(l) - rise sinh(l)/l`` with ``l^2 = rise^2 + across2``; where it cancels, ``exp(-l) + (l - rise) sinh(l)/l``.
    """
    square = rise.square() + across2
    steep = (rise > 0) & (square > 1)
    short = torch.where(steep, 0, square)
    length = torch.where(steep, square, 1).sqrt()
    excess = across2 / (length + torch.where(steep, rise, 1))  # l - rise
    climbing = (-length).exp() + excess * sinhc_sqrt(torch.where(steep, square, 0))
    return torch.where(steep, climbing, cosh_sqrt(short) - rise * sinhc_sqrt(short))


def expmap(x: Float[Tensor, "*#b 2 k"], u: Float[Tensor, "*#b 2 k"]) -> Float[Tensor, "*b 2 k"]:
    r"""Return ``(mu + sigma' u_mu/sigma sinh(l)/l, sigma')``: a half-circle that meets the axis sigma = 0 squarely.

    ``l`` is the hyperbolic length of the variable's velocity, ``sigma'`` as in ``_fall``.
    """
    mean, s = x.unbind(-2)
    across, rise = (u / s.unsqueeze(-2)).unbind(-2)
    across2 = across.square() / 2
    std = s / _fall(rise, across2)
    return torch.stack([mean + std * across * sinhc_sqrt(rise.square() + across2), std], -2)


def transp(
    x: Float[Tensor, "*#b 2 k"], y: Float[Tensor, "*#b 2 k"], v: Float[Tensor, "*#b 2 k"]
) -> Float[Tensor, "*b 2 k"]:
    r"""Return ``v`` times ``sigma_y/sigma_x``, turned by ``-2 arctan(t)``, ``t = D_mu/(sqrt(2) (sigma_x + sigma_y))``.

    The turn is in the half-plane's coordinates ``(mu/sqrt(2), sigma)``; in ``t`` it is rational.
    """
    s, t = x[..., 1, :], y[..., 1, :]
    tangent = (y[..., 0, :] - x[..., 0, :]) / (_ROOT2 * (s + t))
    scale = 1 / (1 + tangent.square())
    cos, sin = (1 - tangent.square()) * scale, 2 * tangent * scale
    mean, std = (v / s.unsqueeze(-2)).unbind(-2)
    turned = torch.stack([cos * mean + _ROOT2 * sin * std, cos * std - sin / _ROOT2 * mean], -2)
    return t.unsqueeze(-2) * turned


class DiagonalGaussian(Gaussian, HomogeneousManifold):
    r"""Normals ``N(mu, diag(sigma^2))`` with the Fisher-Rao metric ``sum_i (d mu_i^2 + 2 d sigma_i^2) / sigma_i^2``.

    Each variable is a hyperbolic half-plane ``(mu/sqrt(2), sigma)`` with distances times ``sqrt(2)``: curvature -1/2.
    The space is complete; ``sigma = 0`` is infinitely far. Close pairs keep full relative accuracy.

    Accuracy: distance, log, transport within a few units in the last place, exp and the distance's gradient within a
    few times the distance. Range: distances up to 125 in float32 and 1003 in float64, NaN beyond; an exponential map
    whose ``sigma`` is no number of the format gives 0, infinity or NaN, which ``point_residual`` reports.

    Args:
        k: Number of variables, at least 1. A point is ``[2, k]``: means, standard deviations.

    Source: Rao 1945; Costa, Santos & Strapasson, Fisher information distance: a geometrical reading, 2015.
    """

    def component_inner(self, x: Tensor, u: Tensor, v: Tensor | None = None) -> Tensor:
        """Return the inner product of each variable, ``[*b, 1, k]``: what an adaptive optimizer divides by."""
        return self._variable_inner(x, u, u if v is None else v)

    @full_precision
    def _variable_inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        s = x[..., 1:, :]
        product = u / s * (v / s)
        return product[..., :1, :] + 2 * product[..., 1:, :]

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``sum_i (u_mu v_mu + 2 u_sigma v_sigma)/sigma^2``."""
        value = self.component_inner(x, u, v).sum(-1, keepdim=True)
        return value if keepdim else value.squeeze((-2, -1))

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``sigma^2 (u_mu, u_sigma/2)``."""
        return x[..., 1:, :].square() * torch.stack([u[..., 0, :], u[..., 1, :] / 2], -2)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the sum over the variables of ``8 asinh^2 sqrt((D_mu^2/2 + D_sigma^2)/(4 sigma_x sigma_y))``."""
        value = variable_dist2(x, y).sum(-1)
        return value.unsqueeze(-1).unsqueeze(-1) if keepdim else value

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the end of the geodesic, per variable a half-circle in ``(mu/sqrt(2), sigma)``."""
        return expmap(x, u)

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the initial velocity of the geodesic from ``x`` to ``y``."""
        return logmap(x, y)

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport: per variable a turn and a scaling by ``sigma_y/sigma_x``."""
        return transp(x, y, v)

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return draws of the wrapped normal of unit covariance at the standard normal distribution."""
        z = torch.randn(self._size(size), generator=generator, dtype=dtype, device=device)
        return self.expmap(self.origin(*z.shape, dtype=dtype, device=device), self.origin_vector(z.flatten(-2)))

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return the means' coordinates and, over ``sqrt(2)``, the deviations': the metric there is (1, 2)."""
        mean, std = z.unflatten(-1, (2, self.k)).unbind(-2)
        return torch.stack([mean, std / _ROOT2], -2)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the means' coordinates, then ``sqrt(2)`` times the deviations'."""
        return torch.cat([u[..., 0, :], _ROOT2 * u[..., 1, :]], -1)

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``sum_i log(sinh(l_i)/l_i)``, ``l_i`` the hyperbolic length of each variable's velocity."""
        return log_sinhc_sqrt(self.component_inner(x, u) / 2).sum((-2, -1))

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> tuple[Tensor, Tensor]:
        """Return factors, of either sign, and shifts of the variables."""
        log_scale, shift = torch.randn(2, self.k, generator=generator, dtype=dtype)
        sign = 2 * torch.randint(2, (self.k,), generator=generator) - 1
        return sign * log_scale.exp(), shift

    def act(self, g: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        """Return the distribution of ``a X + b`` for ``g = (a, b)``, X that of ``x``: units do not matter."""
        return self._act(g[0], g[1], x)

    @full_precision
    def _act(self, factor: Tensor, shift: Tensor, x: Tensor) -> Tensor:
        return torch.stack([factor * x[..., 0, :] + shift, factor.abs() * x[..., 1, :]], -2)
