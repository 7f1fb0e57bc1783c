"""The geometry of one optimizer step, at the points from which it starts."""

import geoopt
import torch
from geoopt.manifolds import Manifold as AnyManifold
from torch import Tensor

from isometry.manifolds import Manifold, PoincareBall, Sphere


def _dot(u: Tensor, v: Tensor) -> Tensor:
    return (u * v).sum(-1, keepdim=True)


class LocalGeometry:
    """What a step needs of a manifold at the points ``x``: through the manifold's own methods, for any manifold.

    The subclasses know one manifold's formulas. They compute in the points' own format and share what the
    operations have in common: rounding there moves a step as rounding its end to the format does, so that the
    compensated kernels of the manifolds would buy nothing.
    """

    def __init__(self, manifold: AnyManifold, x: Tensor) -> None:
        self.manifold = manifold
        self.x = x

    def gradient(self, g: Tensor) -> Tensor:
        """Return the Riemannian gradient of a function whose Euclidean gradient is ``g``."""
        # geoopt's Lorentz writes into its argument.
        return self.manifold.egrad2rgrad(self.x, g if isinstance(self.manifold, Manifold) else g.clone())

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``|r|_x^2`` of the Riemannian gradient ``r`` of ``g``: one number per point, or per factor of a product."""
        return self.manifold.component_inner(self.x, r)

    def move(self, u: Tensor) -> Tensor:
        """Return the points reached with the velocity ``u`` (a retraction of second order)."""
        return self.manifold.retr(self.x, u)

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points reached with the velocity ``u`` and ``v`` transported there."""
        return self.manifold.retr_transp(self.x, u, v)

    def move_along(self, v: Tensor, rate: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return ``move_with(rate v, v)``, with one rate per point."""
        return self.move_with(rate * v, v)


class LocalFlat(LocalGeometry):
    """Euclidean space, whose factors are its coordinates."""

    def gradient(self, g: Tensor) -> Tensor:
        """Return ``g``."""
        return g

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``r^2``, coordinate by coordinate."""
        return r.square()

    def move(self, u: Tensor) -> Tensor:
        """Return ``x + u``."""
        return self.x + u

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x + u`` and ``v``."""
        return self.x + u, v


class LocalSphere(LocalGeometry):
    """The unit sphere, with the retraction ``(x + u)/|x + u|`` along the great circle of ``u``."""

    def gradient(self, g: Tensor) -> Tensor:
        """Return ``g - <x, g> x``."""
        return torch.addcmul(g, self.x, _dot(self.x, g), value=-1)

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``|r|^2``."""
        return _dot(r, r)

    def move(self, u: Tensor) -> Tensor:
        """Return ``(x + u)/|x + u|``."""
        y = self.x + u
        return y * _dot(y, y).rsqrt()

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y = (x + u)/|x + u|`` and the parallel transport ``v - <y, v>/(1 + <x, y>) (x + y)``."""
        total = self.x + u
        cosine = _dot(total, total).rsqrt()  # <x, y>, as u is tangent
        y = total * cosine
        return y, torch.addcmul(v, self.x + y, _dot(y, v) / (1 + cosine), value=-1)


class LocalBall(LocalGeometry):
    r"""The Poincare ball, with the retraction ``y = x + w`` (Moebius), ``w = u / sqrt(a^2 + c|u|^2)``, ``a = 1 - c|x|^2``.

    It follows the geodesic of ``u``, over the length ``2/sqrt(c) asinh(sqrt(c)|u|_x/2)`` in place of ``|u|_x``: equal to second
    order, and without a transcendental function. As ``1 - c|w|^2 = a^2/(a^2 + c|u|^2)``, the end satisfies
    ``b = 1 - c|y|^2 = a^3/((a^2 + c|u|^2) d)`` with ``d = c|x+w|^2 + a^3/(a^2 + c|u|^2)``, sums of positive terms.
    Points keep ``b`` above 16 units of rounding, so that y is inside whatever the rounding of its coordinates: a hyperbolic
    radius of 14.6 in float32 and 34.6 in float64.
    """

    manifold: PoincareBall

    def __init__(self, manifold: PoincareBall, x: Tensor) -> None:
        super().__init__(manifold, x)
        self.c = manifold.c.to(x.dtype) if isinstance(manifold.c, Tensor) else manifold.c
        self.eps = torch.finfo(x.dtype).eps
        self.a = (1 - self.c * _dot(x, x)).clamp_min(self.eps)

    def gradient(self, g: Tensor) -> Tensor:
        """Return ``a^2/4 g``."""
        return g * (self.a * 0.5).square()

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``|r|_x^2 = <g, r>``."""
        return _dot(g, r)

    def _move(self, w: Tensor, cw2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``y = x + w`` (Moebius), ``1/d`` and ``b/a``, given ``c|w|^2``."""
        total = self.x + w
        top = self.c * _dot(total, total) + self.a
        inverse = torch.addcmul(top, self.a, cw2, value=-1).reciprocal()
        ratio = (1 - cw2) * inverse
        scale = inverse * (1 - (16 * self.eps - self.a * ratio).clamp_min(0) * 0.5)
        return torch.addcmul(self.x * (top * scale), w, self.a * scale), inverse, ratio

    def _left(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``w`` and ``c|w|^2``."""
        cu2 = self.c * _dot(u, u)
        sigma2 = (self.a.square() + cu2).reciprocal()
        return u * sigma2.sqrt(), cu2 * sigma2

    def move(self, u: Tensor) -> Tensor:
        """Return ``x + w``."""
        return self._move(*self._left(u))[0]

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return ``y = x + w`` and the parallel transport ``(b/a) gyr[x, w] v``.

        ``gyr[x, w] v = v + 2c/d ((<w,v>(1 + 2c<x,w>) - c|w|^2 <x,v>) x - (<x,v> + c|x|^2 <w,v>) w)``.
        Source: Ungar 2008, the gyration; transport in Ganea, Becigneul & Hofmann 2018, theorem 4.
        """
        w, cw2 = self._left(u)
        y, inverse, ratio = self._move(w, cw2)
        xw, xv, wv = _dot(self.x, w), _dot(self.x, v), _dot(w, v)
        factor = 2 * self.c * ratio * inverse
        along_x = factor * (wv * (1 + 2 * self.c * xw) - cw2 * xv)
        along_w = factor * (xv + (1 - self.a) * wv)
        return y, torch.addcmul(torch.addcmul(v * ratio, self.x, along_x), w, along_w, value=-1)

    def move_along(self, v: Tensor, rate: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return ``move_with(rate v, v)``, whose products are all multiples of ``|v|^2`` and ``<x, v>``."""
        vv, xv = _dot(v, v), _dot(self.x, v)
        speed2 = self.c * vv * rate**2
        inverse_length2 = (self.a.square() + speed2).reciprocal()
        tau = rate * inverse_length2.sqrt()  # w = tau v
        y, inverse, ratio = self._move(v * tau, speed2 * inverse_length2)
        factor = 2 * self.c * ratio * inverse * tau
        along_x = factor * vv * (1 + self.c * tau * xv)
        along_v = ratio - factor * (xv + (1 - self.a) * tau * vv)
        return y, torch.addcmul(v * along_v, self.x, along_x)


_LOCAL: dict[type, type[LocalGeometry]] = {Sphere: LocalSphere, PoincareBall: LocalBall, geoopt.Euclidean: LocalFlat}


def local_geometry(manifold: AnyManifold | None, x: Tensor) -> LocalGeometry:
    """Return the geometry of ``manifold`` (``None``: flat) at ``x``, in its own formulas where they are known here."""
    if manifold is None:
        return LocalFlat(geoopt.Euclidean(), x)
    return _LOCAL.get(type(manifold), LocalGeometry)(manifold, x)
