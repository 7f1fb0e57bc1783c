"""Core shapes beside enumeration of all of them."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import FixedRankTucker, core_shape, mode_energies, select_tucker_ranks
from tests.manifolds.low_rank.suite import noise


def parameters(ranks: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return math.prod(ranks) + sum(n * r for n, r in zip(shape, ranks, strict=True))


def kept(energies: list[Tensor], ranks: tuple[int, ...]) -> float:
    return sum(float(e[:r].sum()) for e, r in zip(energies, ranks, strict=True))


def best(energies: list[Tensor], budget: int) -> float:
    shape = tuple(len(e) for e in energies)
    return max(
        kept(energies, ranks)
        for ranks in itertools.product(*(range(1, n + 1) for n in shape))
        if parameters(ranks, shape) <= budget and all(r * r <= math.prod(ranks) for r in ranks)
    )


def decaying(shape: tuple[int, ...], seed: int) -> Tensor:
    """A tensor whose unfoldings have decaying spectra."""
    w = noise(shape, torch.float64, seed)
    for k, n in enumerate(shape):
        w = w * (2.0 ** -torch.arange(n, dtype=w.dtype)).reshape([n if i == k else 1 for i in range(len(shape))])
    return w


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(12, 10, 8), (7, 9), (6, 5, 3, 3), (4, 3, 3, 2, 2)])
def test_up_to_four_modes_the_choice_is_exact(shape: tuple[int, ...], seed: int) -> None:
    energies = mode_energies(decaying(shape, seed), len(shape))
    least = 1 + sum(shape)
    for budget in (least, least + 7, 60 + least, 120 + least, 10_000):
        ranks = select_tucker_ranks(energies, budget)
        assert parameters(ranks, shape) <= budget
        assert kept(energies, ranks) >= best(energies, budget) - 1e-12


def test_energies_are_those_of_all_unfoldings() -> None:
    w = noise((2, 5, 4, 3), torch.complex128, 0)
    for k, e in enumerate(mode_energies(w, 3)):
        s = torch.stack([torch.linalg.svdvals(a.movedim(k, 0).flatten(1)) for a in w])
        torch.testing.assert_close(e, s.square().sum(0))
    assert len(mode_energies(noise((6, 2), torch.float64, 0), 2)[0]) == 6  # padded to the mode's length


def test_the_energy_left_out_bounds_the_error() -> None:
    m = FixedRankTucker((12, 10, 8))
    w = decaying(m.shape, 0)
    energies = mode_energies(w, 3)
    for budget in (60, 120, 180):
        x = m.from_dense(w, budget=budget)
        lost = 3 * float(w.square().sum()) - kept(energies, m.ranks(x))
        error = float((m.to_dense(x) - w).square().sum())
        assert error <= lost
        assert error >= lost / 3 - 1e-12


def test_a_layer_takes_no_time() -> None:
    energies = [torch.linspace(1, 0, n, dtype=torch.float64) for n in (512, 512, 3, 3)]
    ranks = core_shape.select_tucker_ranks(energies, 200_000)
    assert 150_000 < parameters(ranks, (512, 512, 3, 3)) <= 200_000


def test_too_small_a_budget() -> None:
    with pytest.raises(ValueError, match="at least 31 parameters"):
        select_tucker_ranks([torch.ones(n) for n in (12, 10, 8)], 30)
