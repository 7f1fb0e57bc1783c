"""The geometry of one optimizer step in the two models of hyperbolic space."""

import torch
from torch import Tensor

from isometry.manifolds import Lorentz, PoincareBall
from isometry.trainers.optim._local import LocalGeometry, Rate, dot, shifted


class LocalBall(LocalGeometry):
    r"""The Poincare ball, with the retraction of ``PoincareBall.retr`` and what a step knows besides its end.

    ``y = x + w`` (Moebius) with ``w = u / sqrt(a^2 + c|u|^2)`` and ``a = 1 - c|x|^2 = 2h`` follows the geodesic of
    ``u``, over the length ``2/sqrt(c) asinh(sqrt(c)|u|_x/2)`` in place of ``|u|_x``: equal to second order, and without
    a transcendental function. With ``rest = 1 - c|w|^2 = a^2/(a^2 + c|u|^2)`` and ``d = c|x+w|^2 + a rest``::

        y = ((c|x+w|^2 + a) x + a w)/d          b = 1 - c|y|^2 = a rest/d

    where no term cancels. Points keep ``b`` above 16 units of rounding, so that they are inside whatever the rounding
    of their coordinates: a hyperbolic radius of 14.6 in float32 and 34.6 in float64.
    """

    def __init__(self, manifold: PoincareBall, x: Tensor) -> None:
        super().__init__(manifold, x)
        self.c = manifold.c.to(x.dtype) if isinstance(manifold.c, Tensor) else manifold.c
        self.eps = torch.finfo(x.dtype).eps
        self.cx2 = self._times_c(dot(x, x))
        self.h = torch.rsub(self.cx2, 0.5, alpha=0.5).clamp_min(self.eps)
        self.h2 = self.h * self.h

    def _times_c(self, value: Tensor) -> Tensor:
        return value if isinstance(self.c, float) and self.c == 1 else self.c * value

    def gradient(self, g: Tensor) -> Tensor:
        """Return ``a^2/4 g``."""
        return g * self.h2

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``|r|_x^2 = <g, r>``."""
        return dot(g, r)

    def _left(self, cv2: Tensor, rate: Rate) -> tuple[Tensor, Tensor, Rate]:
        """Return ``tau``, ``rest`` and ``half = rate/2`` with ``w = half tau v`` for the velocity ``rate v``."""
        half = 0.5 * rate
        tau = shifted(self.h2, cv2, half * half).rsqrt()
        return tau, self.h2 * (tau * tau), half

    def _add(self, w: Tensor, rest: Tensor, half: Rate) -> tuple[Tensor, Tensor]:
        """Return ``y = x + half w`` (Moebius) and ``1/d``."""
        total = shifted(self.x, w, half)
        ct2 = self._times_c(dot(total, total))
        # As d is at most 4, b d/2 of 32 eps is a b of at least 16 eps.
        d = torch.add(ct2, (self.h * rest).clamp_min(32 * self.eps), alpha=2)
        inverse = d.reciprocal()
        along_x = torch.add(ct2, self.h, alpha=2) * inverse
        along_w = self.h * inverse
        if isinstance(half, Tensor):
            return torch.addcmul(self.x * along_x, w, along_w * half, value=2), inverse
        return torch.addcmul(self.x * along_x, w, along_w, value=2 * half), inverse

    def move(self, v: Tensor, rate: Rate) -> Tensor:
        """Return ``x + w`` for the velocity ``rate v``."""
        tau, rest, half = self._left(self._times_c(dot(v, v)), rate)
        return self._add(v * tau, rest, half)[0]

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return ``y = x + w`` and the parallel transport ``(b/a) gyr[x, w] v``.

        ``gyr[x, w] v = v + 2c/d ((<w,v>(1 + 2c<x,w>) - c|w|^2 <x,v>) x - (<x,v> + c|x|^2 <w,v>) w)``.
        Source: Ungar 2008, the gyration; transport in Ganea, Becigneul & Hofmann 2018, theorem 4.
        """
        tau, rest, half = self._left(self._times_c(dot(u, u)), 1.0)
        w = u * (half * tau)
        y, inverse = self._add(w, rest, 1.0)
        cxw, cxv, cwv = (self._times_c(dot(a, b)) for a, b in ((self.x, w), (self.x, v), (w, v)))
        ratio = rest * inverse
        factor = 2 * ratio * inverse
        along_x = factor * (cwv * (1 + 2 * cxw) - (1 - rest) * cxv)
        along_w = factor * (cxv + self.cx2 * cwv)
        return y, torch.addcmul(torch.addcmul(v * ratio, self.x, along_x), w, along_w, value=-1)

    def move_along(self, v: Tensor, rate: Rate) -> tuple[Tensor, Tensor]:
        """Return ``move_with(rate v, v)``, where ``w = tau v`` leaves the products ``|v|^2`` and ``<x, v>``."""
        cv2, cxv = self._times_c(dot(v, v)), self._times_c(dot(self.x, v))
        tau, rest, half = self._left(cv2, rate)
        y, inverse = self._add(v * tau, rest, half)
        tau = half * tau
        ratio, cxw = rest * inverse, tau * cxv
        along_x = ratio * inverse * tau * cv2 * (1 + cxw)
        along_v = ratio * (1 - 2 * inverse * torch.addcmul(cxw, self.cx2, 1 - rest))
        return y, torch.addcmul(v * along_v, self.x, along_x, value=2)


class LocalLorentz(LocalGeometry):
    r"""The Lorentz model, with the retraction ``y = k x + u``, ``k = sqrt(1 + c|u|^2)``.

    It follows the geodesic of ``u``, over the length ``asinh(sqrt(c)|u|)/sqrt(c)`` in place of ``|u|``. Everything is
    computed on the spatial parts, in float64: products of the model lose digits as ``cosh(r)^2``. Time is derived.
    """

    def __init__(self, manifold: Lorentz, x: Tensor) -> None:
        super().__init__(manifold, x)
        self.c = manifold.c
        self.space = self._space(x)
        self.s = self.space if isinstance(self.c, float) and self.c == 1 else self.space * self.c**0.5
        self.s2 = dot(self.s, self.s)
        self.t2 = 1 + self.s2
        self.t = self.t2.sqrt()

    def _space(self, v: Tensor) -> Tensor:
        return v[..., 1:].double()

    def _whole(self, time: Tensor, space: Tensor) -> Tensor:
        return torch.cat([time, space], -1).to(self.x.dtype)

    def _split(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficient of ``v`` along ``s`` and its part across."""
        along = dot(self.s, v) / self.s2.clamp_min(torch.finfo(self.s2.dtype).tiny)
        return along, torch.addcmul(v, self.s, along, value=-1)

    def _inner(self, u: Tensor, v: Tensor) -> Tensor:
        """Return the Minkowski product of tangent vectors, given their spatial parts, without cancellation."""
        (a, u_across), (b, v_across) = self._split(u), self._split(v)
        return torch.addcdiv(dot(u_across, v_across), a * b * self.s2, self.t2)

    def _square(self, v: Tensor) -> Tensor:
        product = dot(self.s, v)
        along = product / self.s2.clamp_min(torch.finfo(self.s2.dtype).tiny)
        across = torch.addcmul(v, self.s, along, value=-1)
        return torch.addcdiv(dot(across, across), along * product, self.t2)

    def _gradient(self, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``e = g + g_0 s/t``, ``s.e`` and the gradient ``(I + s s^T) e``, all spatial."""
        e = torch.addcmul(self._space(g), self.s, g[..., :1] / self.t)
        along = dot(self.s, e)
        return e, along, torch.addcmul(e, self.s, along)

    def gradient(self, g: Tensor) -> Tensor:
        """Return ``(I + s s^T)(g + g_0 s/t)``, with time from tangency."""
        _, along, r = self._gradient(g)
        return self._whole(along * self.t, r)  # s.r = (1 + |s|^2) s.e = t^2 s.e

    def descend(self, g: Tensor, rate: Rate) -> Tensor:
        """Return ``move(gradient(g), rate)``, with ``|r|^2`` of what the gradient knows."""
        e, along, r = self._gradient(g)
        share = along / self.s2.clamp_min(torch.finfo(self.s2.dtype).tiny)
        across = torch.addcmul(e, self.s, share, value=-1)
        square = torch.addcmul(dot(across, across), along * share, self.t2)
        return self._moved(r, square, rate)

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return the Minkowski square of ``r``."""
        return self._square(self._space(r)).to(self.x.dtype)

    def _time(self, y: Tensor) -> Tensor:
        return (1 / self.c + dot(y, y)).sqrt()

    def _end(self, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the point and the tangent vector there with the spatial parts ``y`` and ``v``."""
        time = self._time(y)
        return self._whole(time, y), self._whole(dot(y, v) / time, v)

    def _stretch(self, square: Tensor, rate: Rate) -> Tensor:
        """Return ``k`` for the velocity ``rate v``, given ``|v|^2``."""
        factor = self.c * rate * rate
        return (1 + factor * square if isinstance(factor, Tensor) else torch.rsub(square, 1, alpha=-factor)).sqrt()

    def move(self, v: Tensor, rate: Rate) -> Tensor:
        """Return ``k x + rate v``."""
        v = self._space(v)
        return self._moved(v, self._square(v), rate)

    def _moved(self, v: Tensor, square: Tensor, rate: Rate) -> Tensor:
        y = shifted(self.space * self._stretch(square, rate), v, rate)
        return self._whole(self._time(y), y)

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y = k x + u`` and the parallel transport ``v + c<u, v>/(1 + k) (x + y)``."""
        u, v = self._space(u), self._space(v)
        k = self._stretch(self._square(u), 1.0)
        y = torch.addcmul(u, self.space, k)
        return self._end(y, torch.addcmul(v, self.space + y, self.c * self._inner(u, v) / (1 + k)))

    def move_along(self, v: Tensor, rate: Rate) -> tuple[Tensor, Tensor]:
        """Return ``y = k x + rate v`` and the geodesic's velocity there, ``k v + c|v|^2 rate x``."""
        if isinstance(rate, Tensor) and rate.ndim:
            rate = rate[..., :1]  # a product spreads it over the coordinates
        v = self._space(v)
        cv2 = self.c * self._square(v)
        k = (1 + cv2 * rate**2).sqrt()
        return self._end(torch.addcmul(rate * v, self.space, k), torch.addcmul(k * v, self.space, cv2 * rate))
