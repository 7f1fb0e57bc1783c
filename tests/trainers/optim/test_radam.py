"""RiemannianAdam against geoopt, torch and a slow twin."""

from typing import Any

import geoopt
import pytest
import torch
from torch import nn

from isometry.manifolds import Manifold, PoincareBall, Sphere
from isometry.trainers.optim import RiemannianAdam, _batch
from tests.trainers.optim.cases import MANIFOLDS, SlowBall, SlowSphere, difference, parameters, run, slow_adam

VARIANTS: list[dict[str, Any]] = [
    {},
    {"amsgrad": True},
    {"weight_decay": 0.1},
    {"betas": (0.5, 0.9), "eps": 1e-4},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Sphere(3), geoopt.SphereExact()), (PoincareBall(4), geoopt.PoincareBallExact()), (None, geoopt.Euclidean(1))],
    ids=["sphere", "ball", "flat"],
)
def test_equals_geoopt(ours: Manifold | None, theirs: geoopt.Manifold, options: dict[str, Any]) -> None:
    """At lr 1e-4 the retraction's third order and geoopt's transport by projection are below 1e-8."""
    values = parameters(ours)
    mine = [nn.Parameter(x.clone()) for x in values]
    other = [geoopt.ManifoldParameter(x.clone(), manifold=theirs) for x in values]
    group: list[dict[str, Any]] = [{"params": mine, **({"manifold": ours} if ours else {})}]
    a = run(RiemannianAdam(group, lr=1e-4, **options), mine)
    b = run(geoopt.optim.RiemannianAdam(other, lr=1e-4, **options), other)
    assert difference(a, b) < 1e-8
    assert difference(a, values) > 1e-4


@pytest.mark.parametrize("options", [*VARIANTS, {"maximize": True}], ids=str)
@pytest.mark.parametrize("decoupled", [False, True])
def test_equals_torch_on_euclidean_parameters(options: dict[str, Any], decoupled: bool) -> None:
    values = [torch.randn(shape) for shape in ((5, 4), (7,), (), (2, 3, 4))]
    mine, other = ([nn.Parameter(x.clone()) for x in values] for _ in range(2))
    options = {"lr": 0.01, "decoupled_weight_decay": decoupled, **options}
    a = run(RiemannianAdam(mine, **options), mine)
    b = run(torch.optim.Adam(other, fused=True, **options), other)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize(("manifold", "slow"), [(Sphere(3), SlowSphere()), (PoincareBall(4), SlowBall())], ids=repr)
def test_equals_the_papers_algorithm(manifold: Manifold, slow: Any, amsgrad: bool) -> None:
    values = parameters(manifold, count=2)
    targets = [torch.randn_like(x) for x in values]
    params = [nn.Parameter(x.clone()) for x in values]
    optimizer = RiemannianAdam([{"params": params, "manifold": manifold}], lr=0.05, amsgrad=amsgrad)
    for step in range(15):
        for p, t in zip(params, targets, strict=True):
            p.grad = 2 * (p.detach() - t) * 0.5**step
        optimizer.step()
    for p, x, t in zip(params, values, targets, strict=True):
        for point, start, target in zip(p, x, t, strict=True):
            steps = iter(range(15))
            end = slow_adam(
                slow, start, lambda z, t=target, s=steps: 2 * (z - t) * 0.5 ** next(s), 15, lr=0.05, amsgrad=amsgrad
            )
            torch.testing.assert_close(point.detach(), end, rtol=0, atol=1e-11)


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
@pytest.mark.parametrize(
    "options", [{}, {"amsgrad": True}, {"weight_decay": 0.1, "decoupled_weight_decay": True}], ids=str
)
def test_together_as_alone(manifold: Manifold, options: dict[str, Any]) -> None:
    """Parameters that are stacked step as each does alone, and stay on the manifold."""
    values = parameters(manifold)
    together = [nn.Parameter(x.clone()) for x in values]
    alone = [nn.Parameter(x.clone()) for x in values]
    groups = [{"params": [p], "manifold": manifold} for p in alone]
    a = run(RiemannianAdam([{"params": together, "manifold": manifold}], lr=0.1, **options), together)
    b = run(RiemannianAdam(groups, lr=0.1, **options), alone)
    assert difference(a, b) < 1e-12
    for x in a:
        assert manifold.point_residual(x).max() < 1e-13


def test_large_tables_step_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of one table, of a stack whose members have taken different numbers of steps, and of sparse rows."""
    results = []
    for part in (2**17, 16):
        monkeypatch.setattr(_batch, "_PART", part)
        torch.manual_seed(0)
        stack = [nn.Parameter(x) for x in parameters(PoincareBall(4))]
        table, sparse = (nn.Parameter(PoincareBall(4).random(30, 4, dtype=torch.float64)) for _ in range(2))
        sparse.data = sparse.data[:29].clone()
        optimizer = RiemannianAdam([{"params": [*stack, table, sparse], "manifold": PoincareBall(4)}], lr=0.1)
        for missing in (1, None, None):
            for i, p in enumerate((*stack, table)):
                p.grad = None if i == missing else torch.randn_like(p)
            entries, values = torch.randint(0, 29, (1, 25)), torch.randn(25, 4, dtype=torch.float64)
            sparse.grad = torch.sparse_coo_tensor(entries, values, (29, 4), check_invariants=True)
            optimizer.step()
        results.append([p.detach() for p in (*stack, table, sparse)])
    assert difference(*results) == 0


def test_decoupled_decay_is_apart_from_the_moments() -> None:
    """Without a gradient of the loss, the decay pulls to the centre of the ball and the moments stay zero."""
    ball = PoincareBall(3)
    p = nn.Parameter(torch.full((2, 3), 0.4, dtype=torch.float64))
    options: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.5, "decoupled_weight_decay": True}
    optimizer = RiemannianAdam([{"params": [p], "manifold": ball}], **options)
    p.grad = torch.zeros_like(p)
    start = p.detach().clone()
    optimizer.step()
    assert not optimizer.state[p]["exp_avg"].any()
    torch.testing.assert_close(p.detach(), ball.retr(start, -0.1 * 0.5 * ball.egrad2rgrad(start, start)))


def test_second_moment_is_one_number_per_point() -> None:
    params = [nn.Parameter(x) for x in parameters(Sphere(3), count=2)]
    optimizer = RiemannianAdam([{"params": params, "manifold": Sphere(3)}], amsgrad=True)
    run(optimizer, params, steps=1)
    for p in params:
        shapes = {name: tuple(value.shape) for name, value in optimizer.state[p].items()}
        assert shapes == {"step": (), "exp_avg": (5, 4), "exp_avg_sq": (5, 1), "max_exp_avg_sq": (5, 1)}


def test_maximize_goes_up() -> None:
    for manifold in MANIFOLDS:
        up, down = (nn.Parameter(parameters(manifold, count=1)[0]) for _ in range(2))
        down.data = up.detach().clone()
        g = torch.randn_like(up)
        up.grad, down.grad = g, -g
        RiemannianAdam([{"params": [up], "manifold": manifold}], maximize=True).step()
        RiemannianAdam([{"params": [down], "manifold": manifold}]).step()
        assert torch.equal(up, down)


@pytest.mark.parametrize(
    "options", [{"lr": -1.0}, {"betas": (1.0, 0.9)}, {"eps": -1.0}, {"weight_decay": -1.0}, {"stabilize": 0}], ids=str
)
def test_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        RiemannianAdam([nn.Parameter(torch.zeros(1))], **options)


@pytest.mark.parametrize("name", ["capturable", "differentiable", "foreach", "fused"])
def test_arguments_that_would_be_ignored_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        RiemannianAdam([nn.Parameter(torch.zeros(1))], **{name: True})  # type: ignore[arg-type]
