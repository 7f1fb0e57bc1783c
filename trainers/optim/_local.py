"""The geometry of one optimizer step, at the points from which it starts."""

from typing import Any

import torch
from geoopt.manifolds import Manifold as AnyManifold
from torch import Tensor

from isometry.manifolds import Manifold

Rate = float | Tensor


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Return the Euclidean inner product over the last dimension, which is kept."""
    return (u * v).sum(-1, keepdim=True)


def shifted(x: Tensor, v: Tensor, rate: Rate) -> Tensor:
    """Return ``x + rate v``."""
    return torch.addcmul(x, v, rate) if isinstance(rate, Tensor) else torch.add(x, v, alpha=rate)


class LocalGeometry:
    """What a step needs of a manifold at the points ``x``: through the manifold's own methods, for any manifold.

    The subclasses know one manifold's formulas and share what the operations have in common. Where rounding moves a
    step no further than rounding its end to the format does, they compute in the format of the points, without the
    compensation that the manifolds' own methods need for their accuracy.
    """

    def __init__(self, manifold: Any, x: Tensor) -> None:
        self.manifold: AnyManifold = manifold
        self.x = x

    def gradient(self, g: Tensor) -> Tensor:
        """Return the Riemannian gradient of a function whose Euclidean gradient is ``g``."""
        # geoopt's Lorentz writes into its argument.
        return self.manifold.egrad2rgrad(self.x, g if isinstance(self.manifold, Manifold) else g.clone())

    def descend(self, g: Tensor, rate: Rate) -> Tensor:
        """Return ``move(gradient(g), rate)``."""
        return self.move(self.gradient(g), rate)

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``|r|_x^2`` of the Riemannian gradient ``r`` of ``g``, one number per point or per factor of it."""
        return self.manifold.component_inner(self.x, r)

    def move(self, v: Tensor, rate: Rate) -> Tensor:
        """Return the points reached with the velocity ``rate v``, by a retraction of second order."""
        return self.manifold.retr(self.x, rate * v)

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points reached with the velocity ``u``, and ``v`` transported there."""
        return self.manifold.retr_transp(self.x, u, v)

    def move_along(self, v: Tensor, rate: Rate) -> tuple[Tensor, Tensor]:
        """Return ``move_with(rate v, v)``."""
        return self.move_with(rate * v, v)


class LocalFlat(LocalGeometry):
    """Euclidean space, whose factors are its coordinates."""

    def gradient(self, g: Tensor) -> Tensor:
        """Return ``g``."""
        return g

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``r^2``, coordinate by coordinate."""
        return r.square()

    def move(self, v: Tensor, rate: Rate) -> Tensor:
        """Return ``x + rate v``."""
        return shifted(self.x, v, rate)

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x + u`` and ``v``."""
        return self.x + u, v


class LocalSphere(LocalGeometry):
    """The unit sphere, with the retraction ``(x + u)/|x + u|`` along the great circle of ``u``."""

    def gradient(self, g: Tensor) -> Tensor:
        """Return ``g - <x, g> x``."""
        return torch.addcmul(g, self.x, dot(self.x, g), value=-1)

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``|r|^2``."""
        return dot(r, r)

    def move(self, v: Tensor, rate: Rate) -> Tensor:
        """Return ``(x + rate v)/|x + rate v|``."""
        y = shifted(self.x, v, rate)
        return y * dot(y, y).rsqrt()

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y = (x + u)/|x + u|`` and the parallel transport ``v - <y, v>/(1 + <x, y>) (x + y)``."""
        total = self.x + u
        cosine = dot(total, total).rsqrt()  # <x, y>, as u is tangent
        y = total * cosine
        return y, torch.addcmul(v, self.x + y, dot(y, v) / (1 + cosine), value=-1)

    def move_along(self, v: Tensor, rate: Rate) -> tuple[Tensor, Tensor]:
        """Return ``y = (x + rate v)/|x + rate v|`` and the great circle's velocity ``<x, y> (v - rate |v|^2 x)``."""
        total = shifted(self.x, v, rate)
        cosine = dot(total, total).rsqrt()
        if isinstance(rate, Tensor):
            bent = torch.addcmul(v, self.x, rate * dot(v, v), value=-1)
        else:
            bent = torch.addcmul(v, self.x, dot(v, v), value=-rate)
        return total * cosine, bent * cosine
