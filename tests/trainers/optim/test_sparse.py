"""Sparse gradients: the rows they touch, and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.manifolds import Manifold, Sphere
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD
from isometry.trainers.optim._sparse import touched_rows
from tests.trainers.optim.cases import MANIFOLDS

OPTIMIZERS: list[tuple[type[Any], dict[str, Any]]] = [
    (RiemannianAdam, {"lr": 0.05}),
    (RiemannianAdam, {"lr": 0.05, "amsgrad": True, "weight_decay": 0.01, "decoupled_weight_decay": True}),
    (RiemannianSGD, {"lr": 0.05}),
    (RiemannianSGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
]
IDS = ["adam", "amsgrad", "sgd", "nesterov"]


def coo(index: Tensor, values: Tensor, rows: int, coalesced: bool = False) -> Tensor:
    size = (rows, *values.shape[1:])
    return torch.sparse_coo_tensor(index[None], values, size, is_coalesced=coalesced, check_invariants=True)


@pytest.mark.parametrize(("rows", "entries"), [(50, 200), (1000, 30), (100_000, 5), (10, 0), (300, 100)])
def test_touched_rows(rows: int, entries: int) -> None:
    """Marking, and coalescing where the table is very long, are the sum of the entries of each row."""
    grad = coo(torch.randint(0, rows, (entries,)), torch.randn(entries, 3, dtype=torch.float64), rows)
    index, values = touched_rows(grad)
    assert len(index.unique()) == len(index)
    torch.testing.assert_close(torch.zeros(rows, 3, dtype=torch.float64).index_add(0, index, values), grad.to_dense())


def test_touched_rows_of_a_permutation_and_of_a_coalesced_gradient() -> None:
    index, values = torch.randperm(20)[:10], torch.randn(10, 3)
    for grad in (coo(index, values, 20), coo(index.sort().values, values, 20, coalesced=True)):
        rows, sums = touched_rows(grad)
        assert torch.equal(rows, grad._indices()[0])
        assert torch.equal(sums, values)


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS, ids=IDS)
@pytest.mark.parametrize("manifold", [None, *MANIFOLDS], ids=repr)
def test_equals_dense_on_the_touched_rows(
    manifold: Manifold | None, optimizer: type[Any], options: dict[str, Any]
) -> None:
    """A table whose gradients are always in the same rows: those step as a small dense table, the others rest."""
    shape = (12, 4) if manifold is None else (12, *manifold.point_shape)
    table = (
        torch.randn(shape, dtype=torch.float64) if manifold is None else manifold.random(*shape, dtype=torch.float64)
    )
    rows = torch.tensor([7, 2, 9])
    sparse, dense = nn.Parameter(table.clone()), nn.Parameter(table[rows].clone())
    named = {} if manifold is None else {"manifold": manifold}
    steppers = [optimizer([{"params": [p], **named}], **options) for p in (sparse, dense)]
    for _ in range(4):
        entries = torch.tensor([7, 2, 9, 2, 7, 7])
        values = torch.randn(6, *shape[1:], dtype=torch.float64)
        sparse.grad = coo(entries, values, 12)
        dense.grad = sparse.grad.to_dense()[rows]
        for stepper in steppers:
            stepper.step()
    torch.testing.assert_close(sparse[rows], dense, rtol=0, atol=1e-12)
    others = torch.tensor([i for i in range(12) if i not in rows])
    assert torch.equal(sparse[others], table[others])


def test_adam_on_euclidean_rows_equals_torch() -> None:
    table = torch.randn(12, 4, dtype=torch.float64)
    mine, other = nn.Parameter(table.clone()), nn.Parameter(table.clone())
    # With no eps to speak of, which torch's SparseAdam adds before the bias correction and its Adam after.
    steppers = [RiemannianAdam([mine], lr=0.1, eps=1e-30), torch.optim.SparseAdam([other], lr=0.1, eps=1e-30)]
    for _ in range(5):
        grad = coo(torch.randint(0, 12, (6,)), torch.randn(6, 4, dtype=torch.float64), 12)
        mine.grad = other.grad = grad
        for stepper in steppers:
            stepper.step()
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-13)


def test_dense_and_sparse_in_one_step() -> None:
    embedding = nn.Embedding(10, 3, sparse=True)
    embedding.weight.data = Sphere(2).random(10, 3)
    others = [nn.Parameter(Sphere(2).random(10, 3)) for _ in range(2)]
    optimizer = RiemannianAdam([{"params": [embedding.weight, *others], "manifold": Sphere(2)}], lr=0.1)
    start = embedding.weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        loss = (embedding(torch.tensor([1, 1, 4])) - 1).square().sum() + sum((p - 1).square().sum() for p in others)
        loss.backward()
        optimizer.step()
    moved = (embedding.weight != start).any(-1)
    assert moved.nonzero().flatten().tolist() == [1, 4]
    for p in (embedding.weight, *others):
        assert Sphere(2).point_residual(p).max() < 1e-6


def test_refuses_entries_inside_points() -> None:
    p = nn.Parameter(Sphere(2).random(10, 3))
    p.grad = torch.randn(10, 3).to_sparse(2)
    with pytest.raises(ValueError, match="sparse_dim=2"):
        RiemannianSGD([{"params": [p], "manifold": Sphere(2)}], lr=0.1).step()
