"""Search: contractions are those of einsum, planted trains and rings are found, and budgets are kept."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import ring_to_dense
from isometry.models import TensorNetwork, search_network

TRAIN = {(0, 1): 2, (1, 2): 3, (2, 3): 2}
RING = {(0, 1): 2, (1, 2): 2, (2, 3): 2, (0, 3): 2}


def planted(bonds: dict[tuple[int, int], int], seed: int = 0) -> Tensor:
    return TensorNetwork((5, 5, 5, 5), bonds, generator=torch.Generator().manual_seed(seed))().detach()


def test_a_network_is_its_einsum() -> None:
    network = TensorNetwork((3, 4, 5), {(0, 1): 2, (0, 2): 3, (1, 2): 4})
    a, b, c = network.cores
    assert torch.allclose(network(), torch.einsum("iab,jac,kbc->ijk", a, b, c))
    assert network.num_parameters == 3 * 6 + 4 * 8 + 5 * 12
    ring = TensorNetwork((5, 5, 5, 5), RING)
    a, b, c, d = (core.squeeze() for core in ring.cores)  # bonds by pairs: (01, 03), (01, 12), (12, 23), (03, 23)
    cores = [a.permute(2, 0, 1), b.permute(1, 0, 2), c.permute(1, 0, 2), d.permute(2, 0, 1)]
    assert torch.allclose(ring(), ring_to_dense(cores))
    assert 0.5 < torch.stack([TensorNetwork((8, 8, 8), {(0, 1): 3, (1, 2): 3})().var() for _ in range(30)]).mean() < 2


def test_a_fit_is_stationary_and_a_new_slice_keeps_the_old_ones() -> None:
    w = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    network = TensorNetwork(w.shape, {(0, 1): 2, (1, 2): 2}, generator=torch.Generator().manual_seed(0))
    error = network.fit(w, sweeps=2000, tol=1e-12)
    assert error == pytest.approx(((network() - w).norm() / w.norm()).item())
    u, s, vh = torch.linalg.svd(w.flatten(1))
    assert s[2:].norm() / w.norm() < error < 1  # a train of rank 2 is at most as good as a matrix of rank 2
    assert torch.allclose((u[:, :2] * s[:2] @ vh[:2] - w.flatten(1)).norm(), s[2:].norm())
    grown = network.resized((0, 2), 2)
    assert grown.bonds == {(0, 1): 2, (0, 2): 2, (1, 2): 2}
    assert torch.allclose(grown(), network())
    assert network.resized((0, 2), 2, 0.1).fit(w) < error


@pytest.mark.parametrize("bonds", [TRAIN, RING], ids=["train", "ring"])
@pytest.mark.parametrize("seed", range(3))
def test_planted_structures_are_found_exactly(bonds: dict[tuple[int, int], int], seed: int) -> None:
    w = planted(bonds, seed)
    steps = search_network(w, generator=torch.Generator().manual_seed(seed))
    network, error, _ = steps[-1]
    assert {pair: r for pair, r in network.bonds.items() if r > 1} == bonds
    assert network.num_parameters == 80
    assert error < 1e-6
    assert (network() - w).norm() < 1e-6 * w.norm()
    assert all(b.error < a.error for a, b in itertools.pairwise(steps) if a.error > 1e-6)  # while it grows


def test_permuted_trains_are_found_where_no_train_in_order_is_small() -> None:
    w = planted({(0, 2): 2, (1, 2): 2, (1, 3): 2})
    network = search_network(w, generator=torch.Generator().manual_seed(0))[-1].network
    assert {pair for pair, r in network.bonds.items() if r > 1} == {(0, 2), (1, 2), (1, 3)}


def test_a_budget_is_kept() -> None:
    steps = search_network(planted(TRAIN), max_parameters=45, generator=torch.Generator().manual_seed(0))
    assert steps[-1].network.num_parameters <= 45
    assert steps[-1].error > 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TensorNetwork((3,)), r"expected two modes or more"),
        (lambda: TensorNetwork((3, 4), {(1, 0): 2}), r"by pairs \(j, k\), j < k < 2, but got the shape \(3, 4\) and"),
        (lambda: search_network(torch.zeros(3, 3)), r"expected a finite tensor, not zero.*norm 0\.0"),
        (lambda: search_network(torch.full((3, 3), torch.nan)), r"norm nan"),
    ],
)
def test_mistakes_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
