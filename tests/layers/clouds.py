"""Points of any manifold, from which the tests of layers start."""

import torch
from torch import Tensor

from isometry.manifolds import Manifold
from isometry.manifolds.testing import Case


def cloud(manifold: Manifold, *batch: int, spread: float = 0.5, seed: int = 0) -> Tensor:
    """Points up to ``spread`` from a point at distance 1/2 from the origin."""
    case = Case(manifold)
    origin = manifold.origin(*manifold.point_shape, dtype=torch.float64).detach()
    centre = manifold.expmap(origin, case.tangents(origin, 0.5))
    u = case.tangents(centre.expand(*batch, *manifold.point_shape), spread, seed=2 + seed)
    return manifold.expmap(centre, torch.rand(*batch, *(1,) * manifold.ndim, dtype=u.dtype) * u).detach()
