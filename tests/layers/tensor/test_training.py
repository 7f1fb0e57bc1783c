import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.layers.tensor import Conv2d, Embedding, Linear
from isometry.manifolds.low_rank import named_low_rank
from isometry.trainers.optim import LowRankOptimizer

F64 = torch.float64
FORMATS: dict[str, Any] = {"low_rank": 3, "kronecker": 3, "tucker": (3, 3, 3, 3), "tt": 3}
ROOM: dict[str, Any] = {"low_rank": 12, "kronecker": 12, "tucker": (3, 4, 3, 4), "tt": 12}


def regression(rank: int) -> tuple[Tensor, Tensor]:
    """Inputs, and the outputs of a linear map of low rank."""
    x = torch.randn(200, 12, dtype=F64)
    w = torch.randn(12, rank, dtype=F64) @ torch.randn(rank, 12, dtype=F64)
    return x, x @ w.mT / 12**0.5


def train(model: Any, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("format", FORMATS)
def test_riemannian_gradient_descent_is_the_projected_dense_step(format: str) -> None:
    """One step: the dense weight moves along the projected gradient, then is truncated to the ranks."""
    layer = Linear(12, 12, FORMATS[format], format=format, tangent_grad=True, bias=False, dtype=F64)
    x, y = regression(3)
    dense = layer.to_dense()
    handle = named_low_rank(layer.factors)[""]
    m = handle.manifold
    point = m.point([leaf.detach().clone() for leaf in m.leaves(handle.point())])
    (dense(x) - y).square().mean().backward()
    step = m.combine(-0.1, t := m.project(point, layer.factors.folded(dense.weight.grad)), 0.0, t)
    train(layer, LowRankOptimizer(layer, lr=0.1), x, y, 1)
    torch.testing.assert_close(m.to_dense(handle.point()), m.to_dense(m.retract(point, step)), rtol=0, atol=1e-12)


def test_a_network_of_all_layers_trains() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(
        Embedding(30, 64, 4, tangent_grad=True),
        nn.Unflatten(1, (1, 8, 8)),
        Conv2d(1, 8, 3, (4, 1, 4), padding=1, tangent_grad=True),
        nn.ReLU(),
        Conv2d(8, 8, 3, 4, groups=2, format="tt", tangent_grad=True),
        nn.ReLU(),
        nn.Flatten(),
        Linear(288, 16, 4, format="kronecker", tangent_grad=True),
        nn.ReLU(),
        Linear(16, 3, 2, tangent_grad=True),
    )
    x, y = torch.arange(30), torch.randint(3, (30,))
    optimizer = LowRankOptimizer(model, lr=0.2, momentum=0.9)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    for handle in named_low_rank(model).values():
        assert float(handle.manifold.orthonormality(handle.point()).detach()) < 1e-5


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_ranks_grow_in_place_to_what_the_data_need(format: str, compiled: bool) -> None:
    """Parallel BUG: the parameters keep their identity, so that what is compiled goes on."""
    start: Any = (1, 1, 1, 1) if format == "tucker" else 1
    layer = Linear(
        12,
        12,
        start,
        format=format,
        max_rank=ROOM[format],
        tangent_grad=True,
        bias=False,
        dtype=F64,
        fold=FOLDS[format],
    )
    x, y = regression(3)
    before = [id(p) for p in layer.parameters()]
    model = torch.compile(layer, backend="aot_eager", fullgraph=True) if compiled else layer
    optimizer = LowRankOptimizer(layer, lr=2.0, integrator="parallel_bug", tol=1e-6)
    losses = train(model, optimizer, x, y, 60)
    assert [id(p) for p in layer.parameters()] == before
    assert min(layer.factors.get_buffer("ranks").tolist()) > 1
    assert losses[-1] < 0.1 * losses[0]


FOLDS: dict[str, Any] = {
    "low_rank": None,
    "kronecker": ((3, 4), (4, 3)),
    "tucker": ((3, 4), (3, 4)),
    "tt": ((3, 4), (4, 3)),
}


def test_the_state_brings_ranks_and_goes_on() -> None:
    x, y = regression(3)
    layers = [Linear(12, 12, 1, max_rank=8, tangent_grad=True, bias=False, dtype=F64) for _ in range(2)]
    optimizers = [LowRankOptimizer(m, lr=2.0, integrator="parallel_bug", tol=1e-4, momentum=0.5) for m in layers]
    train(layers[0], optimizers[0], x, y, 10)
    file = io.BytesIO()
    torch.save([layers[0].state_dict(), optimizers[0].state_dict()], file)
    file.seek(0)
    state, moments = torch.load(file)
    layers[1].load_state_dict(state)
    optimizers[1].load_state_dict(moments)
    assert layers[1].factors.get_buffer("ranks").tolist() == layers[0].factors.get_buffer("ranks").tolist() != [1, 1]
    assert train(layers[0], optimizers[0], x, y, 5) == train(layers[1], optimizers[1], x, y, 5)


@pytest.mark.parametrize("format", ["low_rank", "kronecker", "tucker", "cp", "tt"])
def test_factors_train_with_an_ordinary_optimizer(format: str) -> None:
    layer = Linear(12, 12, FORMATS.get(format, 20), format=format, dtype=F64)
    x, y = regression(3)
    losses = train(layer, torch.optim.Adam(layer.parameters(), lr=0.02), x, y, 200)
    assert losses[-1] < 0.5 * losses[0]


def test_the_optimizer_refuses_derivatives_by_factors() -> None:
    with pytest.raises(ValueError, match="tangent_grad=True"):
        LowRankOptimizer(Linear(12, 12, 3), lr=0.1)
