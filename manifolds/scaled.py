"""A manifold with its distances multiplied by a constant."""

import math

import torch
from torch import Tensor
from typing_extensions import Self

from isometry.manifolds._wrapper import Wrapper
from isometry.manifolds.base import Manifold


class Scaled(Wrapper):
    r"""The same points with the metric ``s^2 <u, v>_x``: distances times ``s``, sectional curvatures over ``s^2``.

    ``Scaled(Sphere(n), s)`` is the sphere of radius s. Points stay those of the manifold (unit vectors there);
    geodesics, exp, log and transport do not change. ``random`` draws as the manifold does.

    Args:
        manifold: The manifold to scale.
        scale: Positive factor ``s`` of the distances.
    """

    def __init__(self, manifold: Manifold, scale: float) -> None:
        super().__init__(manifold)
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"Scaled: expected a positive scale (it multiplies distances), but got scale={scale}.")
        self.scale = float(scale)

    def with_dim(self, dim: int) -> Self:
        """Return the same geometry in another dimension, with the same scale."""
        return type(self)(self.manifold.with_dim(dim), self.scale)

    def injectivity_radius(self) -> float:
        """Return the manifold's, times the scale."""
        return self.scale * self.manifold.injectivity_radius()

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the manifold's Riemannian gradient over ``s^2``."""
        return self.manifold.egrad2rgrad(x, u) / self.scale**2

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``s^2 <u, v>_x``."""
        return self.scale**2 * self.manifold.inner(x, u, v, keepdim=keepdim)

    def component_inner(self, x: Tensor, u: Tensor, v: Tensor | None = None) -> Tensor:
        """Return ``s^2`` times the manifold's inner products per factor."""
        return self.scale**2 * self.manifold.component_inner(x, u, v)

    def norm(self, x: Tensor, u: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``s |u|_x``."""
        return self.scale * self.manifold.norm(x, u, keepdim=keepdim)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``s d(x, y)``."""
        return self.scale * self.manifold.dist(x, y, keepdim=keepdim)

    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``s^2 d(x, y)^2``."""
        return self.scale**2 * self.manifold.dist2(x, y, keepdim=keepdim)

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return the manifold's vector for ``z/s``, of length ``|z|``."""
        return self.manifold.origin_vector(z / self.scale)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return ``s`` times the manifold's coordinates."""
        return self.scale * self.manifold.origin_coordinates(u)

    def heat_kernel_log_prob(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return ``log p_(t/s^2)(x, y) - n log s``: the time and the volume scale with the metric."""
        return self.manifold.heat_kernel_log_prob(t / self.scale**2, x, y) - self.dim * math.log(self.scale)

    def sample_heat_kernel(self, t: Tensor, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the manifold's Brownian motion at time ``t/s^2``."""
        return self.manifold.sample_heat_kernel(t / self.scale**2, x, generator)

    def volume(self) -> float:
        """Return ``s^n`` times the manifold's volume."""
        return self.scale**self.dim * self.manifold.volume()
