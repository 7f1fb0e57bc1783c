"""The Lorentz (hyperboloid) model of hyperbolic space."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._precision import full_precision
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

# The functions below work at curvature -1 on the spatial parts (the last n of the n + 1 coordinates). The time of a
# point and of a tangent vector is derived, t = sqrt(1 + |s|^2) and v_0 = s.v / t: it carries no information of its own,
# and its rounding would dominate at large radius. Sums that cancel far from the origin are split into components along
# and across s; the component form is not differentiable at s = 0, so derivatives follow the plain formula.


def _time(s: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 1"]:
    return (1 + dot(s, s)).sqrt()


def _split(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``alpha`` and ``w`` with ``v = alpha s + w`` and ``w`` orthogonal to ``s`` (``alpha = 0`` at ``s = 0``)."""
    square = dot(s, s)
    alpha = dot(s, v) / torch.where(square > 0, square, 1)
    return alpha, v - alpha * s


def minkowski(s: Float[Tensor, "*#b n"], u: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b 1"]:
    r"""Return ``<u, v>_L = u.v - (s.u)(s.v)/t^2`` for tangent vectors at the point with spatial part ``s``."""
    square = dot(s, s)
    alpha, u_across = _split(s, u)
    beta, v_across = _split(s, v)
    value = dot(u_across, v_across) + alpha * beta * square / (1 + square)
    return with_value(value, dot(u, v) - dot(s, u) * dot(s, v) / (1 + square))


def cosh_dist_minus_1(s: Float[Tensor, "*#b n"], u: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b 1"]:
    r"""Return ``h = cosh d - 1 = t t' - s.u - 1`` without cancellation.

    ``(|D|^2 + |s ^ u|^2)/(1 + t t' + s.u)`` where ``s.u >= 0`` and ``(S + U + S U)/(1 + t t') - s.u`` elsewhere, with
    ``D = u - s``, ``S = |s|^2``, ``U = |u|^2`` and the Gram determinant ``|s ^ u|^2 = S |D_across|^2``.
    """
    delta, square, other, product = u - s, dot(s, s), dot(u, u), dot(s, u)
    tt = ((1 + square) * (1 + other)).sqrt()
    _, across = _split(s, delta)
    gram = with_value(square * dot(across, across), square * dot(delta, delta) - dot(s, delta).square())
    near = product >= 0
    acute = (dot(delta, delta) + gram) / (1 + tt + torch.where(near, product, 0))
    obtuse = (square + other + square * other) / (1 + tt) - product
    return torch.where(near, acute, obtuse)


def logmap(s: Float[Tensor, "*#b n"], u: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b n"]:
    """Return the spatial part of ``d/sinh(d) (D - h s)``."""
    h = cosh_dist_minus_1(s, u)
    return asinhc_sqrt(h / 2) / (1 + h / 2).sqrt() * ((u - s) - h * s)


def expmap(s: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b n"]:
    """Return the spatial part of ``cosh|v| x + sinh|v|/|v| v``."""
    square = minkowski(s, v, v)
    return cosh_sqrt(square) * s + sinhc_sqrt(square) * v


def transp(s: Float[Tensor, "*#b n"], u: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b n"]:
    r"""Return the spatial part of ``v + <y, v>_L / (2 + h) (x + y)``.

    With ``v = alpha s + w``, ``sigma = s.D`` and ``t' - t = (2 sigma + |D|^2)/(t + t')``:
    ``<y, v>_L = D.w + alpha (2 sigma + t sigma |D|^2/(t+t') - sigma^2 (t'-t)/(t+t') - S|D_across|^2) / (t (t + t'))``.
    """
    delta, square = u - s, dot(s, s)
    t, t_other = _time(s), _time(u)
    alpha, across = _split(s, v)
    _, delta_across = _split(s, delta)
    sigma, d2, total = dot(s, delta), dot(delta, delta), t + t_other
    along = 2 * sigma + (t * sigma * d2 - sigma.square() * (2 * sigma + d2) / total) / total
    value = dot(delta, across) + alpha * (along - square * dot(delta_across, delta_across)) / (t * total)
    y_v = with_value(value, dot(u, v) - t_other * dot(s, v) / t)
    return v + y_v / (2 + cosh_dist_minus_1(s, u)) * (s + u)


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

    def _unit(self, x: Tensor) -> Tensor:
        """Return the spatial part in unit-curvature coordinates."""
        return x[..., 1:] * self.c**0.5

    def _point(self, s: Tensor) -> Tensor:
        return torch.cat([_time(s), s], -1) / self.c**0.5

    def _vector(self, s: Tensor, v: Tensor) -> Tensor:
        """Return the tangent vector with spatial part ``v`` (a vector has the same length in both scales here)."""
        return torch.cat([dot(s, v) / _time(s), v.expand(torch.broadcast_shapes(s.shape, v.shape))], -1)

    def point_residual(self, x: Tensor) -> Tensor:
        """Return ``|x_0 - t| / t`` with ``t = sqrt(1/c + |spatial part|^2)``."""
        x = x.double()
        t = (1 / self.c + dot(x[..., 1:], x[..., 1:])).sqrt().squeeze(-1)
        return (x[..., 0] - t).abs() / t

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``|u_0 - s.u/t| / |u|``, Euclidean length of u."""
        x, u = x.double(), u.double()
        s = self._unit(x)
        time = (dot(s, u[..., 1:]) / _time(s)).squeeze(-1)
        length = dot(u, u, keepdim=False).sqrt()
        return (u[..., 0] - time).abs() / torch.where(length > 0, length, 1)

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return ``x`` with its time derived from its spatial part."""
        return self._point(self._unit(x))

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u + c <x, u>_L x``, the Minkowski-orthogonal projection."""
        s, w = self._unit(x), u[..., 1:]
        excess = dot(s, w) - _time(s) * u[..., :1]
        return self._vector(s, w + excess * s)

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(I + s s^T)(g + g_0 s/t)`` for the Euclidean gradient ``(g_0, g)``, with time from tangency."""
        s = self._unit(x)
        g = u[..., 1:] + u[..., :1] * s / _time(s)
        return self._vector(s, g + dot(s, g) * s)

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return the Minkowski product ``<u, v>_L`` of tangent vectors."""
        value = minkowski(self._unit(x), u[..., 1:], (u if v is None else v)[..., 1:])
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``2/sqrt(c) asinh(sqrt(h/2))``, ``h = -c <x, y>_L - 1``."""
        h = cosh_dist_minus_1(self._unit(x), self._unit(y))
        value = 2 / self.c**0.5 * safe_sqrt(h / 2).asinh()
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the squared geodesic distance, analytic at ``x = y``."""
        h = cosh_dist_minus_1(self._unit(x), self._unit(y))
        value = 2 / self.c * h * asinhc_sqrt(h / 2).square()
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``cosh(sqrt(c)|u|) x + sinh(sqrt(c)|u|)/(sqrt(c)|u|) u``."""
        return self._point(expmap(self._unit(x), self._unit(u)))

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the initial velocity of the geodesic from ``x`` to ``y``."""
        s = self._unit(x)
        return self._vector(s, logmap(s, self._unit(y)) / self.c**0.5)

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport ``v + c <y, v>_L / (1 - c <x, y>_L) (x + y)``."""
        s, u = self._unit(x), self._unit(y)
        return self._vector(u, transp(s, u, v[..., 1:]))

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
        # The boost that carries the origin to p: s -> s + (t + p.s/(1 + p_0)) p, at curvature -1.
        boost, s = self._unit(p), self._unit(x) @ q.mT
        return self._point(s + (_time(s) + dot(boost, s) / (1 + _time(boost))) * boost)

    def act(self, g: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        """Return the Lorentz transformation ``g = (Q, p)`` of the points: rotate space by ``Q``, then boost to ``p``."""
        return self._act(g[1], g[0], x)
