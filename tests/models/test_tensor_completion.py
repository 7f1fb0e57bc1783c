"""Completion: planted tensors are found, steps are those of dense conjugate gradients, and NaN is refused."""

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import FixedRankMatrix, FixedRankTT, FixedRankTucker, LowRankManifold
from isometry.models import TensorCompletion, observed_entries

CASES: list[tuple[LowRankManifold[Any, Any], float, int]] = [
    (FixedRankMatrix(60, 60), 0.3, 100),
    (FixedRankTucker((30, 30, 30)), 0.1, 60),
    (FixedRankTucker((10, 9, 8, 7)), 0.3, 60),
    (FixedRankTT((30, 30, 30)), 0.1, 90),
]


def planted(manifold: LowRankManifold[Any, Any], share: float) -> tuple[Tensor, Tensor, Tensor]:
    """A tensor of rank 3 with entries of size 1 or so, and some of its entries."""
    generator = torch.Generator().manual_seed(0)
    w = manifold.to_dense(manifold.random(3, scale=100.0, generator=generator, dtype=torch.float64))
    return w, *observed_entries(w, torch.rand(w.shape, generator=generator) < share)


@pytest.mark.parametrize(("manifold", "share", "steps"), CASES, ids=lambda value: str(value))
def test_a_planted_tensor_is_found(manifold: LowRankManifold[Any, Any], share: float, steps: int) -> None:
    w, *entries = planted(manifold, share)
    model = TensorCompletion(manifold, 3)
    history = model.fit(*entries, steps=steps)
    assert history[-1] < 1e-12 * history[0]
    assert (model.to_dense() - w).norm() < 1e-10 * w.norm()
    assert torch.equal(model(entries[0]), model.to_dense()[entries[0].unbind(-1)])
    assert manifold.orthonormality(model.point) < 1e-13


def test_the_first_step_is_that_of_dense_matrices() -> None:
    w, indices, values = planted(FixedRankMatrix(12, 10), 0.6)
    decay = 0.3
    model = TensorCompletion(FixedRankMatrix(12, 10), 3, weight_decay=decay)
    model.start(indices, values)
    x = model.to_dense().detach()
    mask = torch.zeros_like(w).index_put(indices.unbind(-1), torch.ones_like(values))
    u, s, vh = torch.linalg.svd(mask * w / mask.mean())
    assert torch.allclose(x, u[:, :3] * s[:3] @ vh[:3], atol=1e-12)
    p, q = (a @ a.mT for a in (u[:, :3], vh[:3].mT))
    g = mask * (x - w) + decay * x
    d = -(p @ g + g @ q - p @ g @ q)
    size = d.square().sum() / ((mask * d).square().sum() + decay * d.square().sum())
    u, s, vh = torch.linalg.svd(x + size * d)
    rms = model.step(indices, values)
    assert torch.allclose(rms, (x - w)[indices.unbind(-1)].square().mean().sqrt())
    assert torch.allclose(model.to_dense(), u[:, :3] * s[:3] @ vh[:3], atol=1e-12)


def test_the_loss_never_rises_and_decay_shrinks() -> None:
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(8, 9, 7, generator=generator, dtype=torch.float64)
    entries = observed_entries(w, torch.rand(w.shape, generator=generator) < 0.5)
    norms = []
    for decay in (0.0, 1.0):
        model = TensorCompletion(FixedRankTucker((8, 9, 7)), 3, weight_decay=decay)
        model.start(*entries)
        losses = []
        for _ in range(30):
            rms = model.step(*entries)
            losses.append(len(entries[1]) * rms.square())
        if not decay:
            assert all(b <= a * (1 + 1e-12) for a, b in pairwise(losses))
        norms.append(float(model.to_dense().norm()))
    assert norms[1] < norms[0]


def test_a_mean_is_a_rank_less() -> None:
    w, *_ = planted(FixedRankMatrix(20, 20), 1.0)
    entries = observed_entries(w - w.mean(0) + 5.0)
    errors = []
    for centered in (True, False):
        model = TensorCompletion(FixedRankMatrix(20, 20), 3, centered=centered)
        errors.append(model.fit(*entries, steps=20)[-1])
    assert errors[0] < 1e-12 < 1e-3 < errors[1]


def test_a_solved_problem_stays_solved() -> None:
    w, *entries = planted(FixedRankMatrix(12, 10), 1.0)
    model = TensorCompletion(FixedRankMatrix(12, 10), 3)
    model.fit(*entries, steps=5)
    for _ in range(5):
        model.step(*entries)
    assert (model.to_dense() - w).abs().max() < 1e-12


def test_copies_and_states() -> None:
    _, *entries = planted(FixedRankTT((6, 5, 4)), 0.8)
    model = TensorCompletion(FixedRankTT((6, 5, 4)), 2, centered=True)
    model.fit(*entries, steps=3)
    twin = copy.deepcopy(model)
    assert torch.equal(model.step(*entries), twin.step(*entries))
    other = TensorCompletion(FixedRankTT((6, 5, 4)), 2, centered=True)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(entries[0]), model(entries[0]))


class TestObservedEntries:
    def test_nan_is_what_is_missing(self) -> None:
        w = torch.tensor([[1.0, torch.nan], [torch.nan, 4.0]])
        indices, values = observed_entries(w)
        assert indices.tolist() == [[0, 0], [1, 1]]
        assert values.tolist() == [1.0, 4.0]

    @pytest.mark.parametrize(
        ("w", "mask", "message"),
        [
            (torch.tensor([[1.0, torch.nan]]), torch.tensor([[True, True]]), "1 of 2 are NaN or infinite"),
            (torch.tensor([[1.0, torch.inf]]), None, "1 of 2 are NaN or infinite"),
            (torch.full((2, 2), torch.nan), None, "0 of 0 are NaN"),
            (torch.ones(2), torch.tensor([1.0, torch.nan]), "a mask of numbers hides NaN"),
            (torch.ones(2, 2), torch.ones(2, dtype=torch.bool), r"bool \[2, 2\], but got torch.bool \[2\]"),
        ],
    )
    def test_refusals(self, w: Tensor, mask: Tensor | None, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            observed_entries(w, mask)


@pytest.mark.parametrize(
    ("indices", "values", "message"),
    [
        (torch.zeros(3, 3, dtype=torch.int64), torch.ones(3), r"expected places \[k, 2\] and as many values"),
        (torch.zeros(3, 2, dtype=torch.int64), torch.ones(2), "as many values"),
        (torch.tensor([[0, 9]]), torch.ones(1), "some are outside"),
        (torch.tensor([[-1, 0]]), torch.ones(1), "some are outside"),
        (torch.tensor([[0, 0]]), torch.tensor([torch.nan]), "1 of 1 are NaN or infinite; leave out"),
    ],
)
def test_entries_that_are_refused(indices: Tensor, values: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TensorCompletion(FixedRankMatrix(5, 4), 2).fit(indices, values)


def test_settings_that_are_refused() -> None:
    with pytest.raises(ValueError, match="weight_decay >= 0, but got -1"):
        TensorCompletion(FixedRankMatrix(5, 4), 2, weight_decay=-1.0)
    with pytest.raises(ValueError, match="expected ranks between 1 and"):
        TensorCompletion(FixedRankMatrix(5, 4), 9)
