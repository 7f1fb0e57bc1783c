"""geoopt's own manifolds and parameters: the very steps of geoopt's optimizers, for many parameters at once."""

from typing import Any

import geoopt
import pytest
import torch
from torch import Tensor

from isometry.trainers import optim
from tests.trainers.optim.cases import difference

MANIFOLDS: list[tuple[geoopt.Manifold, tuple[int, ...]]] = [
    (geoopt.EuclideanStiefel(), (2, 4, 3)),
    (geoopt.CanonicalStiefel(), (2, 4, 3)),
    (geoopt.SymmetricPositiveDefinite(), (2, 3, 3)),
    (geoopt.Sphere(), (4, 5)),
    (geoopt.Scaled(geoopt.Sphere(), 2.0), (4, 5)),
    (geoopt.ProductManifold((geoopt.Sphere(), 3), (geoopt.Euclidean(1), 2)), (4, 5)),
]


@pytest.mark.parametrize("name", ["RiemannianAdam", "RiemannianSGD"])
@pytest.mark.parametrize(("manifold", "shape"), MANIFOLDS, ids=lambda value: getattr(value, "name", ""))
def test_equals_geoopt(manifold: geoopt.Manifold, shape: tuple[int, ...], name: str) -> None:
    values = [Tensor(manifold.random(*shape, dtype=torch.float64).detach()).contiguous() for _ in range(3)]
    results = []
    for module in (optim, geoopt.optim):
        params = [geoopt.ManifoldParameter(geoopt.ManifoldTensor(x.clone(), manifold=manifold)) for x in values]
        stepper: Any = getattr(module, name)(params, lr=1e-2)
        generator = torch.Generator().manual_seed(0)
        for _ in range(5):
            for p in params:
                p.grad = torch.randn(shape, generator=generator, dtype=torch.float64)
            stepper.step()
        results.append([p.detach() for p in params])
    assert difference(*results) < 1e-13
