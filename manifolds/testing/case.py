"""A manifold under test with its declared conditioning, and the points and vectors that it is tested on."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from isometry.manifolds.base import Manifold


@dataclass(frozen=True)
class Case:
    """A manifold under test.

    Args:
        manifold: The manifold. Tests that change it work on a copy.
        cond: By how many times the format's ``eps`` the result of an operation may be off, measured by the metric. It
            covers what rounding the coordinates does to a point (``eps sinh(r)`` at hyperbolic radius r) times
            the number of operations; declare it from that, never from a failing test.
        radius: Points are drawn within this distance of the origin.
        reach: The longest step taken from a point, the unit of the steps ``reach * eps^p``. By default 1, or half of
            the injectivity radius where that is less.
    """

    manifold: Manifold
    cond: float = 16.0
    radius: float = math.inf
    reach: float = 0.0

    def __post_init__(self) -> None:
        if self.reach == 0:
            object.__setattr__(self, "reach", min(1.0, self.manifold.injectivity_radius() / 2))

    def __str__(self) -> str:
        return repr(self.manifold)

    def bound(self, dtype: torch.dtype, power: float = 0.0) -> float:
        """Return ``cond * eps / r`` with ``r = eps^power``."""
        return float(self.cond * torch.finfo(dtype).eps ** (1 - power))

    def points(self, *batch: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
        """Return random points ``[*batch, *point_shape]`` within ``radius`` of the origin."""
        m = self.manifold
        x = m.random(*batch, *m.point_shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).detach()
        if math.isinf(self.radius):
            return x
        origin = m.origin(*x.shape, dtype=dtype)
        u = m.logmap(origin, x)
        return m.expmap(origin, (self.radius / m.norm(origin, u, keepdim=True)).clamp(max=1) * u).detach()

    def tangents(self, x: Tensor, length: float = 1.0, seed: int = 1) -> Tensor:
        """Return a random tangent vector of the given length at each point ``x``."""
        m = self.manifold
        u = m.proju(x, self.noise(x, seed))
        return (length / m.norm(x, u, keepdim=True) * u).detach()

    def noise(self, x: Tensor, seed: int = 1) -> Tensor:
        """Return normal noise of the shape of ``x``, drawn independently of ``points``."""
        generator = torch.Generator().manual_seed(1000 + seed)
        return torch.randn(x.shape, generator=generator, dtype=x.dtype)

    def step(self, dtype: torch.dtype, power: float, count: int = 8) -> tuple[Tensor, Tensor]:
        """Return points and a tangent vector of length ``reach * eps^power`` at each."""
        x = self.points(count, dtype=dtype)
        return x, self.tangents(x, self.reach * torch.finfo(dtype).eps ** power)

    def pair(self, dtype: torch.dtype, power: float = 0.0, count: int = 8) -> tuple[Tensor, Tensor]:
        """Return points and others at distance ``reach * eps^power`` from them."""
        x, u = self.step(dtype, power, count)
        return x, self.manifold.expmap(x, u).detach()
