"""The Poincare ball model of hyperbolic space."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._precision import full_precision, one_minus_square
from isometry.manifolds._smooth import (
    asinhc_sqrt,
    dot,
    log_sinhc_sqrt,
    norm,
    safe_sqrt,
    sech2_sqrt,
    tanhc_sqrt,
)
from isometry.manifolds._space_form import HyperbolicManifold

Curvature = float | Float[Tensor, "1"]


def _separation(
    x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"], c: Curvature
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return ``D = y - x``, ``c |D|^2``, ``a = 1 - c |x|^2`` and ``b = 1 - c |y|^2``."""
    delta = y - x
    return delta, c * dot(delta, delta), one_minus_square(x, c), one_minus_square(y, c)


def dist(x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"], c: Curvature) -> Float[Tensor, "*b 1"]:
    r"""Return ``2/sqrt(c) asinh(sqrt(q))`` with ``q = c|x-y|^2 / ((1-c|x|^2)(1-c|y|^2))``.

    Source: Nickel & Kiela 2017, equation 1, ``arcosh(1 + 2q) = 2 asinh(sqrt q)``.
    """
    _, d2, a, b = _separation(x, y, c)
    return 2 / c**0.5 * safe_sqrt(d2 / (a * b)).asinh()


def dist2(x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"], c: Curvature) -> Float[Tensor, "*b 1"]:
    """Return the squared distance as an analytic function of ``q`` (see ``dist``)."""
    _, d2, a, b = _separation(x, y, c)
    q = d2 / (a * b)
    return 4 / c * q * asinhc_sqrt(q).square()


def logmap(x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"], c: Curvature) -> Float[Tensor, "*b n"]:
    r"""Return ``a asinh(s) sqrt(1+s^2)/s w`` with ``w = (-x) + y = (a D - c|D|^2 x)/(c|D|^2 + a b)``, ``s^2 = q``.

    The Moebius sum's denominator ``1 - 2c<x,y> + c^2|x|^2|y|^2`` equals ``c|D|^2 + a b``, which does not cancel.
    Source: Ganea, Becigneul & Hofmann 2018, equation 13.
    """
    delta, d2, a, b = _separation(x, y, c)
    q = d2 / (a * b)
    return a * asinhc_sqrt(q) * (1 + q).sqrt() / (d2 + a * b) * (a * delta - d2 * x)


def expmap(x: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"], c: Curvature) -> Float[Tensor, "*b n"]:
    r"""Return ``x + u`` (Moebius) with ``u = tanh(sqrt(c)|v|/a) v/(sqrt(c)|v|)``.

    Written as ``((c|x+u|^2 + a) x + a u) / (c|x+u|^2 + a sech^2)``, in which no term cancels.
    Source: Ganea, Becigneul & Hofmann 2018, equation 12.
    """
    a = one_minus_square(x, c)
    s = c * dot(v, v) / a.square()
    u = tanhc_sqrt(s) / a * v
    total = x + u
    t2 = c * dot(total, total)
    return ((t2 + a) * x + a * u) / (t2 + a * sech2_sqrt(s))


def transp(
    x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"], c: Curvature
) -> Float[Tensor, "*b n"]:
    r"""Return ``(b/a) gyr[y, -x] v``, the gyration as a Cayley rotation in the plane of ``x`` and ``D``.

    With ``W v = D<x,v> - x<D,v>`` and ``k = (a + b + c|D|^2)/2``,
    ``gyr[y, -x] v = v + 2c/(c|D|^2 + ab) (c W W v - k W v)``: polynomial in ``D``, the identity at ``x = y``.
    Source: Ungar 2008 (gyration); the Cayley form is derived in docs/architecture.md's numerics section.
    """
    delta, d2, a, b = _separation(x, y, c)

    def wedge(w: Tensor) -> Tensor:
        return delta * dot(x, w) - x * dot(delta, w)

    wv = wedge(v)
    k = (a + b + d2) / 2
    return b / a * (v + 2 * c / (d2 + a * b) * (c * wedge(wv) - k * wv))


def mobius_add(x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"], c: Curvature) -> Float[Tensor, "*b n"]:
    r"""Return ``x + y`` (Moebius), the left translation by ``x``: ``((c|x+y|^2 + a) x + a y)/(c|x+y|^2 + a b)``.

    Source: Ungar 2008; Ganea, Becigneul & Hofmann 2018, equation 2.
    """
    a, b = one_minus_square(x, c), one_minus_square(y, c)
    total = x + y
    t2 = c * dot(total, total)
    # 1 + 2c<x,y> + c|y|^2 = c|x+y|^2 + a
    return ((t2 + a) * x + a * y) / (t2 + a * b)


def retract(x: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"], c: Curvature) -> Float[Tensor, "*b n"]:
    r"""Return ``x + u`` (Moebius) with ``u = v/a / sqrt(1 + c|v|^2/a^2)``: ``expmap`` up to third order in ``v``.

    An optimizer's step: plain arithmetic in the tensors' own format, no transcendental function, and rows that stay
    within ``1 - 4 eps`` of the boundary.
    """
    eps = torch.finfo(x.dtype).eps
    a = (1 - c * dot(x, x)).clamp_min(eps / 2)
    u = v / a
    shrink = 1 / (1 + c * dot(u, u))
    u = u * shrink.sqrt()
    total = x + u
    t2 = c * dot(total, total)
    y = ((t2 + a) * x + a * u) / (t2 + a * shrink)
    return y * ((1 - 4 * eps) / (c * dot(y, y)).clamp_min(eps).sqrt()).clamp_max(1)


def project(x: Float[Tensor, "*b n"], c: Curvature) -> Float[Tensor, "*b n"]:
    r"""Return ``x`` where ``c|x|^2 < 1``, else the last point of its format inside the boundary on the same ray."""
    eps = torch.finfo(x.dtype).eps
    wide = x.double()
    outside = ~(one_minus_square(wide, c) > 0)  # also where the square overflows
    ray = wide / wide.abs().amax(-1, keepdim=True).clamp_min(1)
    ray = ray / torch.where(outside, norm(ray, keepdim=True) * c**0.5, 1)
    last = (ray * (1 - eps / 2)).to(x.dtype)
    safe = (ray * (1 - (4 + x.shape[-1]) * eps)).to(x.dtype)
    inside = torch.where(one_minus_square(last.double(), c) > 0, last, safe)
    return torch.where(outside, inside, x)


class PoincareBall(HyperbolicManifold):
    r"""The ball ``{x in R^n : c |x|^2 < 1}`` with the metric ``g_x = (2/(1 - c|x|^2))^2 I``.

    Accuracy: distance, log, transport and gradient within a few units in the last place for every pair of
    representable points (docs/accuracy.md). Range: hyperbolic radius ``r sqrt(c)`` up to 17.3 in float32 and
    37.4 in float64, where the format's last number below the boundary lies; ``expmap`` beyond it ends there. float32
    is computed in float64 with ``upcast``; float64 uses a compensated ``1 - c|x|^2``.
    """

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are vectors of ``dim`` coordinates."""
        return (self.dim,)

    def spatial(self, x: Tensor) -> Tensor:
        """Return ``2 x / (1 - c|x|^2)``."""
        wide = x.to(self.compute_dtype(x.dtype))
        # Products of float32 numbers are exact in float64.
        exact = wide.dtype == x.dtype
        a = one_minus_square(wide, self.c) if exact else 1 - self.c * dot(wide, wide)
        return (2 / a * wide).to(x.dtype)

    def from_spatial(self, s: Tensor) -> Tensor:
        """Return ``s / (1 + sqrt(1 + c|s|^2))``, or about the last representable point inside the ball on its ray."""
        wide = s.to(self.compute_dtype(s.dtype))
        double = s.double()  # the square of a float32 number may overflow
        time = (1 + self.c * dot(double, double)).sqrt()
        # sqrt(c)|x| = sqrt((t - 1)/(t + 1)) is to stay below 1 when the coordinates are rounded.
        largest = 1 - (0.6 if wide.dtype != s.dtype else 4) * torch.finfo(s.dtype).eps
        outside = time > (1 + largest**2) / (1 - largest**2)
        stop = largest / torch.where(outside, (time - 1) / (time + 1), 1).sqrt()
        return ((torch.where(outside, stop, 1) / (1 + time)).to(wide.dtype) * wide).to(s.dtype)

    def point_residual(self, x: Tensor) -> Tensor:
        """Return 0 inside the open ball, else ``c|x|^2 - 1`` (infinite on the boundary itself)."""
        excess = -one_minus_square(x.double(), self.c).squeeze(-1)
        return torch.where(excess < 0, 0, torch.where(excess == 0, math.inf, excess))

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return 0 for finite vectors: every vector of R^n is tangent."""
        return (u - u).sum(-1)

    def projx(self, x: Tensor) -> Tensor:
        """Return ``x``, or the last representable point inside the ball on its ray."""
        return project(x, self.c)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u``: every vector of R^n is tangent."""
        return u.expand(torch.broadcast_shapes(x.shape, u.shape))

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(1 - c|x|^2)^2/4 u``."""
        return (one_minus_square(x, self.c) / 2).square() * u

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``4 u.v / (1 - c|x|^2)^2``."""
        value = dot(u, u if v is None else v) * (2 / one_minus_square(x, self.c)).square()
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``2/sqrt(c) asinh(sqrt(c|x-y|^2 / ((1-c|x|^2)(1-c|y|^2))))``."""
        value = dist(x, y, self.c)
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the squared distance, analytic at ``x = y``."""
        value = dist2(x, y, self.c)
        return value if keepdim else value.squeeze(-1)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the Moebius sum of ``x`` and ``tanh(sqrt(c)|u|/(1-c|x|^2)) u/(sqrt(c)|u|)``, inside the ball."""
        return self.projx(self._expmap(x, u))

    @full_precision
    def _expmap(self, x: Tensor, u: Tensor) -> Tensor:
        return expmap(x, u, self.c)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the exponential map up to third order, in plain arithmetic (see ``retract``).

        A point beyond ``1 - 4 eps`` of the boundary comes back to there, whatever ``u``.
        """
        dtype = torch.promote_types(x.dtype, u.dtype)
        wide = torch.promote_types(dtype, torch.float32)
        c = self.c.to(wide) if isinstance(self.c, Tensor) else self.c
        y = retract(x.to(wide), u.to(wide), c)
        return y if wide == dtype else self.projx(y.to(dtype))

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the initial velocity of the geodesic from ``x`` to ``y``."""
        return logmap(x, y, self.c)

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport ``(1-c|y|^2)/(1-c|x|^2) gyr[y, -x] v``."""
        return transp(x, y, v, self.c)

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the centre of the ball."""
        return torch.zeros(self._size(size), dtype=dtype, device=device)

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return draws of the wrapped normal of unit covariance at the origin."""
        z = torch.randn(self._size(size), generator=generator, dtype=dtype, device=device)
        return self.expmap(torch.zeros_like(z), self.origin_vector(z))

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return ``z/2``: the metric at the centre is 4 I."""
        return z / 2

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return ``2 u``."""
        return 2 * u

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(n-1) log(sinh(sqrt(c)|u|_x)/(sqrt(c)|u|_x))``."""
        s = self.c * self.inner(x, u, keepdim=True)
        return (self.dim - 1) * log_sinhc_sqrt(s).squeeze(-1)

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> tuple[Tensor, Tensor]:
        """Return a rotation (or reflection) and a left translation."""
        return random_orthogonal(self.dim, generator, dtype), self.random(self.dim, generator=generator, dtype=dtype)

    def act(self, g: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        """Return ``p + Q x`` (Moebius) for ``g = (Q, p)``."""
        return self.projx(self._act(g[1], g[0], x))

    @full_precision
    def _act(self, p: Tensor, q: Tensor, x: Tensor) -> Tensor:
        return mobius_add(p, x @ q.mT, self.c)
