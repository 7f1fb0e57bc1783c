"""RiemannianSGD against geoopt, torch and a slow twin."""

from typing import Any

import geoopt
import pytest
import torch
from torch import nn

from isometry.manifolds import Manifold, PoincareBall, Sphere
from isometry.trainers.optim import RiemannianSGD
from tests.trainers.optim.cases import MANIFOLDS, SlowBall, SlowSphere, difference, parameters, run, slow_sgd

VARIANTS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "nesterov": True},
]


@pytest.mark.parametrize("options", VARIANTS[:2], ids=str)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Sphere(3), geoopt.SphereExact()), (PoincareBall(4), geoopt.PoincareBallExact())],
    ids=["sphere", "ball"],
)
def test_equals_geoopt(ours: Manifold, theirs: geoopt.Manifold, options: dict[str, Any]) -> None:
    """Without momentum, whose buffer geoopt starts with the Euclidean gradient and counts twice in the first step."""
    values = parameters(ours)
    mine = [nn.Parameter(x.clone()) for x in values]
    other = [geoopt.ManifoldParameter(x.clone(), manifold=theirs) for x in values]
    a = run(RiemannianSGD([{"params": mine, "manifold": ours}], lr=1e-4, **options), mine)
    b = run(geoopt.optim.RiemannianSGD(other, lr=1e-4, **options), other)
    assert difference(a, b) < 1e-8
    assert difference(a, values) > 1e-4


@pytest.mark.parametrize("options", [*VARIANTS, {"maximize": True}], ids=str)
def test_equals_torch_on_euclidean_parameters(options: dict[str, Any]) -> None:
    values = [torch.randn(shape) for shape in ((5, 4), (7,), (), (2, 3, 4))]
    mine, other = ([nn.Parameter(x.clone()) for x in values] for _ in range(2))
    a = run(RiemannianSGD(mine, lr=0.01, **options), mine)
    b = run(torch.optim.SGD(other, lr=0.01, fused=True, **options), other)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("options", VARIANTS[2:], ids=str)
@pytest.mark.parametrize(("manifold", "slow"), [(Sphere(3), SlowSphere()), (PoincareBall(4), SlowBall())], ids=repr)
def test_equals_slow_momentum(manifold: Manifold, slow: Any, options: dict[str, Any]) -> None:
    values = parameters(manifold, count=2)
    targets = [torch.randn_like(x) for x in values]
    params = [nn.Parameter(x.clone()) for x in values]
    optimizer = RiemannianSGD([{"params": params, "manifold": manifold}], lr=0.02, **options)
    for _ in range(15):
        for p, t in zip(params, targets, strict=True):
            p.grad = 2 * (p.detach() - t)
        optimizer.step()
    for p, x, t in zip(params, values, targets, strict=True):
        for point, start, target in zip(p, x, t, strict=True):
            end = slow_sgd(slow, start, lambda z, t=target: 2 * (z - t), 15, lr=0.02, **options)
            torch.testing.assert_close(point.detach(), end, rtol=0, atol=1e-11)


def test_momentum_starts_as_the_riemannian_gradient() -> None:
    """Near the boundary the Euclidean gradient is ten thousand times longer: geoopt's first step is .9, ours 1e-4."""
    ball = PoincareBall(2)
    x = torch.tensor([[0.99, 0.0]], dtype=torch.float64)
    plain, heavy = nn.Parameter(x.clone()), nn.Parameter(x.clone())
    for p, momentum in ((plain, 0.0), (heavy, 0.9)):
        optimizer = RiemannianSGD([{"params": [p], "manifold": ball}], lr=0.01, momentum=momentum)
        p.grad = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
        optimizer.step()
    torch.testing.assert_close(plain, heavy, rtol=1e-15, atol=0)


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_together_as_alone(manifold: Manifold, options: dict[str, Any]) -> None:
    """Parameters that are stacked step as each does alone, and stay on the manifold."""
    values = parameters(manifold)
    together = [nn.Parameter(x.clone()) for x in values]
    alone = [nn.Parameter(x.clone()) for x in values]
    groups = [{"params": [p], "manifold": manifold} for p in alone]
    a = run(RiemannianSGD([{"params": together, "manifold": manifold}], lr=0.01, **options), together)
    b = run(RiemannianSGD(groups, lr=0.01, **options), alone)
    assert difference(a, b) < 1e-12
    for x in a:
        assert manifold.point_residual(x).max() < 1e-13


def test_plain_step_is_the_manifolds_retraction() -> None:
    for manifold in MANIFOLDS[:3]:
        p = nn.Parameter(parameters(manifold, count=1)[0])
        x, g = p.detach().clone(), torch.randn_like(p)
        p.grad = g
        RiemannianSGD([{"params": [p], "manifold": manifold}], lr=1e-3).step()
        u = -1e-3 * manifold.egrad2rgrad(x, g)
        torch.testing.assert_close(p.detach(), manifold.expmap(x, u), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "options",
    [{"lr": -1.0}, {"lr": 1.0, "momentum": -1.0}, {"lr": 1.0, "weight_decay": -1.0}, {"lr": 1.0, "stabilize": 0}],
    ids=str,
)
def test_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        RiemannianSGD([nn.Parameter(torch.zeros(1))], **options)


def test_refuses_nesterov_without_momentum() -> None:
    with pytest.raises(ValueError, match="nesterov needs momentum > 0"):
        RiemannianSGD([nn.Parameter(torch.zeros(1))], lr=1.0, nesterov=True)
