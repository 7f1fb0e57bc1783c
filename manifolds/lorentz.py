"""The Lorentz (hyperboloid) model of hyperbolic space."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._precision import full_precision, two_product
from isometry.manifolds._smooth import (
    asinhc_sqrt,
    cosh_sqrt,
    dot,
    log_sinhc_sqrt,
    safe_sqrt,
    sinhc_sqrt,
    with_value,
)
from isometry.manifolds._space_form import HyperbolicManifold

# The functions below take the spatial parts s, u (the last n of the n + 1 coordinates) and c. The time of a point and
# of a tangent vector is derived, sqrt(c) x_0 = t = sqrt(1 + c|s|^2) and v_0 = sqrt(c) s.v / t: it carries no
# information of its own, and its rounding would dominate at large radius. For the same reason nothing is rescaled to
# curvature -1 first (the rounded multiples of two close points lose their difference), and what lies across s is split
# off exactly. The split is not differentiable at s = 0, so derivatives follow the plain formulas.

Curvature = float | Float[Tensor, "1"]


def _time(s: Float[Tensor, "*b n"], c: Curvature) -> Float[Tensor, "*b 1"]:
    return (1 + c * dot(s, s)).sqrt()


def _split(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``alpha`` and ``w``, ``v = alpha s + w``, ``w`` orthogonal to ``s`` (``alpha = 0`` at ``s = 0``).

    ``w`` has full relative accuracy however short it is: the product is exact, and a second step removes what
    the rounding of ``alpha`` left.
    """
    square = dot(s, s)
    square = torch.where(square > 0, square, 1)
    alpha = dot(s, v) / square
    product, error = two_product(alpha, s)
    w = (v - product) - error
    beta = dot(s, w) / square
    return alpha + beta, w - beta * s


def minkowski(
    s: Float[Tensor, "*#b n"], u: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"], c: Curvature
) -> Float[Tensor, "*b 1"]:
    r"""Return ``<u, v>_L = u.v - c(s.u)(s.v)/t^2`` for tangent vectors at the point with spatial part ``s``."""
    square = dot(s, s)
    alpha, u_across = _split(s, u)
    beta, v_across = _split(s, v)
    value = dot(u_across, v_across) + alpha * beta * square / (1 + c * square)
    return with_value(value, dot(u, v) - c * dot(s, u) * dot(s, v) / (1 + c * square))


def _ahead(s: Tensor, u: Tensor, gamma: Tensor, across2: Tensor, c: Curvature) -> Tensor:
    """Return ``q = t gamma - t'``, where ``s.u = gamma |s|^2`` and ``across2`` is the square of the rest of ``u``.

    ``c (s.v) q / t`` is the share of ``<y, v>_L`` that comes from the part of the tangent vector ``v`` along ``s``.
    With ``gamma >= 0`` the difference is taken of squares: ``((gamma - 1)(gamma + 1) - c across2) / (t gamma + t')``.
    """
    square, t, t_other = dot(s, s), _time(s, c), _time(u, c)
    gamma_minus_1 = dot(s, u - s) / torch.where(square > 0, square, 1)
    positive = gamma >= 0
    numerator = gamma_minus_1 * (1 + gamma) - c * across2
    return torch.where(positive, numerator / (t * torch.where(positive, gamma, 0) + t_other), t * gamma - t_other)


def _time_beyond_linear(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``t = sqrt(1 + |z|^2)`` as ``t0 + linear + rest``: a constant, a linear function of z and what remains.

    All three have derivatives as named, of every order; ``linear`` and ``rest`` have the value 0.
    """
    anchor = z.detach()
    d = z - anchor
    t0, t = (1 + dot(anchor, anchor)).sqrt(), (1 + dot(z, z)).sqrt()
    linear, square = dot(anchor, d) / t0, dot(d, d)
    return t0, linear, (square - linear * (2 * t0 * linear + square) / (t + t0)) / (t + t0)


def cosh_dist_minus_1(s: Float[Tensor, "*#b n"], u: Float[Tensor, "*#b n"], c: Curvature) -> Float[Tensor, "*b 1"]:
    r"""Return ``h = cosh d - 1 = t t' - c s.u - 1`` and its gradient without cancellation.

    ``h = c(|u - s|^2 + c|s ^ u|^2)/(1 + t t' + c s.u)`` where ``s.u >= 0`` and ``(S + U + S U)/(1 + t t') - c s.u``
    elsewhere, with ``S = c|s|^2``, ``U = c|u|^2`` and ``|s ^ u| = |s| |a|``, ``a`` the part of ``u`` across ``s``. The
    derivative by ``sqrt(c) s`` is ``-sqrt(c)(q/t s + a)``, ``q`` as in ``_ahead``. Autograd would subtract numbers of
    size ``e^r`` for it, so it sees ``h`` as its tangent at the point plus an exact remainder, flat there.
    """
    z, y = c**0.5 * s, c**0.5 * u
    t, z_linear, z_rest = _time_beyond_linear(z)
    t_other, y_linear, y_rest = _time_beyond_linear(y)
    dz, dy = z - z.detach(), y - y.detach()
    remainder = z_rest * t_other + y_rest * t + (z_linear + z_rest) * (y_linear + y_rest) - dot(dz, dy)

    s, u, c = s.detach(), u.detach(), c.detach() if isinstance(c, Tensor) else c
    square, other, product, d2 = c * dot(s, s), c * dot(u, u), c * dot(s, u), c * dot(u - s, u - s)
    gamma, across = _split(s, u)
    across2 = dot(across, across)
    near = product >= 0
    acute = (d2 + square * c * across2) / (1 + t * t_other + torch.where(near, product, 0))
    obtuse = (square + other + square * other) / (1 + t * t_other) - product
    value = torch.where(near, acute, obtuse)

    # The part of s across u lies in the same plane: no second splitting.
    gamma_other = product / torch.where(other > 0, other, 1)
    across_other = c * across2 / torch.where(other > 0, other, 1) * s - gamma_other * across
    across_other = torch.where(other > 0, across_other, s)
    slope_z = _ahead(s, u, gamma, across2, c) / t * s + across
    slope_y = _ahead(u, s, gamma_other, dot(across_other, across_other), c) / t_other * u + across_other
    return value + remainder - c**0.5 * (dot(slope_z, dz) + dot(slope_y, dy))


def logmap(s: Float[Tensor, "*#b n"], u: Float[Tensor, "*#b n"], c: Curvature) -> Float[Tensor, "*b n"]:
    """Return the spatial part of ``d/sinh(d) (u - s - h s)``."""
    h = cosh_dist_minus_1(s, u, c)
    return asinhc_sqrt(h / 2) / (1 + h / 2).sqrt() * ((u - s) - h * s)


def expmap(s: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"], c: Curvature) -> Float[Tensor, "*b n"]:
    r"""Return the spatial part of ``cosh(n) x + sinhc(n) v``, ``n = sqrt(c)|v|_L``.

    With ``v = alpha s + w`` it is ``k s + sinhc(n) w``, ``k = cosh(n) + alpha sinhc(n)``. For an inward step, where
    ``alpha < 0`` and that cancels, ``k = (1 + sinhc(n)^2 (c|w|^2 - alpha^2/t^2)) / (cosh(n) - alpha sinhc(n))``.
    """
    alpha, w = _split(s, v)
    t2, w2 = 1 + c * dot(s, s), c * dot(w, w)
    n2 = c * minkowski(s, v, v, c)
    cosh, sinhc = cosh_sqrt(n2), sinhc_sqrt(n2)
    outward = alpha >= 0
    inward_factor = 1 + sinhc.square() * (w2 - alpha.square() / t2)
    factor = torch.where(outward, cosh + alpha * sinhc, inward_factor / (cosh - torch.where(outward, 0, alpha) * sinhc))
    return with_value(factor * s + sinhc * w, cosh * s + sinhc * v)


def transp(
    s: Float[Tensor, "*#b n"], u: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"], c: Curvature
) -> Float[Tensor, "*b n"]:
    r"""Return the spatial part of ``v + c <y, v>_L / (2 + h) (x + y)``.

    With ``v = alpha s + w``, ``u = gamma s + a`` and ``q = t gamma - t'``, ``<y, v>_L = a.w + (s.v) q/t`` and it is
    ``w + (alpha (1 + t'/t) + c a.w)/(2 + h) s + c <y, v>_L/(2 + h) u``, since ``2 + h + c|s|^2 q/t = 1 + t'/t``.
    """
    h, t, t_other = cosh_dist_minus_1(s, u, c), _time(s, c), _time(u, c)
    plain = v + c * (dot(u, v) - t_other / t * dot(s, v)) / (2 + h) * (s + u)
    alpha, w = _split(s, v)
    gamma, across = _split(s, u)
    shared = c * dot(across, w)
    along = c * dot(s, v) * _ahead(s, u, gamma, dot(across, across), c) / t
    value = w + ((alpha * (1 + t_other / t) + shared) * s + (shared + along) * u) / (2 + h)
    return with_value(value, plain)


class Lorentz(HyperbolicManifold):
    r"""The sheet ``{x in R^(n+1) : -x_0^2 + x_1^2 + ... + x_n^2 = -1/c, x_0 > 0}`` with the induced Minkowski metric.

    The spatial part ``x_1 ... x_n`` is the state; ``x_0``, and the time component of tangent vectors, are derived from
    it on every use, and outputs carry the derived value.

    Accuracy: exp, log and transport within a few times the error of the exact result rounded to the format, about
    ``eps cosh(r sqrt(c))`` (docs/accuracy.md). Range: ``r sqrt(c)`` up to about 43 in float32 with ``upcast``, 22
    without, and 177 in float64, where the square of a product of coordinates overflows.
    """

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are vectors of ``dim + 1`` coordinates, time first."""
        return (self.dim + 1,)

    def _point(self, s: Tensor) -> Tensor:
        return torch.cat([_time(s, self.c) / self.c**0.5, s], -1)

    def _vector(self, s: Tensor, v: Tensor) -> Tensor:
        time = self.c**0.5 * dot(s, v) / _time(s, self.c)
        return torch.cat([time, v.expand(torch.broadcast_shapes(s.shape, v.shape))], -1)

    def spatial(self, x: Tensor) -> Tensor:
        """Return ``x_1 ... x_n``."""
        return x[..., 1:]

    @full_precision
    def from_spatial(self, s: Tensor) -> Tensor:
        """Return ``(sqrt(1/c + |s|^2), s)``."""
        return self._point(s)

    def point_residual(self, x: Tensor) -> Tensor:
        """Return ``|x_0 - t| / t`` with ``t = sqrt(1/c + |spatial part|^2)``."""
        x = x.double()
        t = (1 / self.c + dot(x[..., 1:], x[..., 1:])).sqrt().squeeze(-1)
        return (x[..., 0] - t).abs() / t

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``|u_0 - s.u/t| / |u|``, Euclidean length of u."""
        x, u = x.double(), u.double()
        s = x[..., 1:]
        time = (self.c**0.5 * dot(s, u[..., 1:]) / _time(s, self.c)).squeeze(-1)
        length = dot(u, u, keepdim=False).sqrt()
        return (u[..., 0] - time).abs() / torch.where(length > 0, length, 1)

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return ``x`` with its time derived from its spatial part."""
        return self._point(x[..., 1:])

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u + c <x, u>_L x``, the Minkowski-orthogonal projection."""
        s, w = x[..., 1:], u[..., 1:]
        excess = self.c * dot(s, w) - self.c**0.5 * _time(s, self.c) * u[..., :1]
        return self._vector(s, w + excess * s)

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(I + c s s^T)(g + g_0 s/x_0)`` for the Euclidean gradient ``(g_0, g)``, with time from tangency."""
        s = x[..., 1:]
        g = u[..., 1:] + self.c**0.5 * u[..., :1] * s / _time(s, self.c)
        return self._vector(s, g + self.c * dot(s, g) * s)

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return the Minkowski product ``<u, v>_L`` of tangent vectors."""
        value = minkowski(x[..., 1:], u[..., 1:], (u if v is None else v)[..., 1:], self.c)
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``2/sqrt(c) asinh(sqrt(h/2))``, ``h = -c <x, y>_L - 1``."""
        h = cosh_dist_minus_1(x[..., 1:], y[..., 1:], self.c)
        value = 2 / self.c**0.5 * safe_sqrt(h / 2).asinh()
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the squared geodesic distance, analytic at ``x = y``."""
        h = cosh_dist_minus_1(x[..., 1:], y[..., 1:], self.c)
        value = 2 / self.c * h * asinhc_sqrt(h / 2).square()
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``cosh(sqrt(c)|u|) x + sinh(sqrt(c)|u|)/(sqrt(c)|u|) u``."""
        return self._point(expmap(x[..., 1:], u[..., 1:], self.c))

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the initial velocity of the geodesic from ``x`` to ``y``."""
        return self._vector(x[..., 1:], logmap(x[..., 1:], y[..., 1:], self.c))

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport ``v + c <y, v>_L / (1 - c <x, y>_L) (x + y)``."""
        return self._vector(y[..., 1:], transp(x[..., 1:], y[..., 1:], v[..., 1:], self.c))

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return ``(1/sqrt(c), 0, ..., 0)``."""
        return self.projx(torch.zeros(self._size(size), dtype=dtype, device=device))

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return draws of the wrapped normal of unit covariance at the origin."""
        *batch, n = self._size(size)
        z = torch.randn(*batch, n - 1, generator=generator, dtype=dtype, device=device)
        u = self.origin_vector(z)
        return self.expmap(self.projx(torch.zeros_like(u)), u)

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return ``(0, z)``."""
        return torch.cat([torch.zeros_like(z[..., :1]), z], -1)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the spatial part of ``u``."""
        return u[..., 1:]

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(n-1) log(sinh(sqrt(c)|u|)/(sqrt(c)|u|))``."""
        s = self.c * self.inner(x, u, keepdim=True)
        return (self.dim - 1) * log_sinhc_sqrt(s).squeeze(-1)

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> tuple[Tensor, Tensor]:
        """Return a rotation (or reflection) of space and the image of the origin under the boost that follows."""
        point = self.random(self.dim + 1, generator=generator, dtype=dtype)
        return random_orthogonal(self.dim, generator, dtype), point

    @full_precision
    def _act(self, p: Tensor, q: Tensor, x: Tensor) -> Tensor:
        # The boost that carries the origin to p: s -> s + (t + c p.s/(1 + t_p)) p.
        boost, s = p[..., 1:], x[..., 1:] @ q.mT
        time, factor = _time(s, self.c), self.c / (1 + _time(boost, self.c))
        return self._point(s + (time + factor * dot(boost, s)) * boost)

    def act(self, g: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        """Return the images under ``g = (Q, p)``, which rotates space by ``Q`` and then boosts to ``p``."""
        return self._act(g[1], g[0], x)
