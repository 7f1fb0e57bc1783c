"""The compiled update: the same numbers from whole graphs that a moving learning rate does not compile anew."""

from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from isometry.manifolds import Lorentz, Manifold, PoincareBall, Product, Sphere
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD, _batch
from tests.trainers.optim.cases import difference, parameters

CASES: list[tuple[type[Any], dict[str, Any], Manifold]] = [
    (RiemannianAdam, {"amsgrad": True}, Product([PoincareBall(2), Sphere(2), Lorentz(2)])),
    (RiemannianAdam, {"weight_decay": 0.1, "decoupled_weight_decay": True}, PoincareBall(4, learnable=True)),
    (RiemannianSGD, {}, PoincareBall(4)),
    (RiemannianSGD, {"momentum": 0.9}, Sphere(3)),
    (RiemannianSGD, {"momentum": 0.9, "nesterov": True}, PoincareBall(4)),
]


@pytest.mark.parametrize(("optimizer", "options", "manifold"), CASES)
def test_equals_eager(
    optimizer: type[Any], options: dict[str, Any], manifold: Manifold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack and the rows of a table with a schedule: one graph for the stack, and two for the rows.

    The second is for any number of rows.
    """
    monkeypatch.setattr(_batch, "_COMPILED", 0)
    results = []
    for compiled in (False, True):
        torch.manual_seed(0)
        counters.clear()
        params = [nn.Parameter(x) for x in parameters(manifold, 2, torch.float32)]
        table = nn.Parameter(manifold.random(40, *manifold.point_shape))
        stepper = optimizer([{"params": [*params, table], "manifold": manifold}], lr=0.05, compile=compiled, **options)
        schedule = torch.optim.lr_scheduler.ExponentialLR(stepper, 0.9)
        graphs = []
        for entries in (5, 9, 15, 30, 60):
            for p in params:
                p.grad = torch.randn_like(p)
            index, values = torch.randint(0, 40, (1, entries)), torch.randn(entries, *table.shape[1:])
            table.grad = torch.sparse_coo_tensor(index, values, table.shape, check_invariants=True)
            stepper.step()
            schedule.step()
            graphs.append(counters["stats"]["unique_graphs"])
        results.append([*params, table])
    assert difference(*results) < 2e-6
    assert not counters["graph_break"]
    assert graphs == [2, 3, 3, 3, 3]


def test_tiny_parameters_are_not_compiled() -> None:
    counters.clear()
    p = nn.Parameter(Sphere(3).random(4, 4))
    stepper = RiemannianSGD([{"params": [p], "manifold": Sphere(3)}], lr=0.1, compile=True)
    p.grad = torch.randn_like(p)
    stepper.step()
    assert not counters["stats"]["unique_graphs"]


def test_compiling_the_step_itself_is_the_eager_step() -> None:
    """geoopt's step, compiled so, is silently that of Euclidean SGD."""
    values = parameters(Sphere(3))
    mine, other = ([nn.Parameter(x.clone()) for x in values] for _ in range(2))
    steppers = [RiemannianSGD([{"params": params, "manifold": Sphere(3)}], lr=0.1) for params in (mine, other)]
    compiled = torch.compile(steppers[0].step)
    for _ in range(3):
        for p, q in zip(mine, other, strict=True):
            p.grad = q.grad = torch.randn_like(p)
        compiled()
        steppers[1].step()
    assert difference(mine, other) < 1e-12
