import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf
from torch import Tensor

from isometry.layers import CovariancePooling
from isometry.layers.covariance_pooling import ledoit_wolf
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import ShapeError, SPDAffineInvariant

KINDS: list[dict[str, Any]] = [
    {},
    {"shrinkage": 0.1},
    {"shrinkage": 0.1, "learnable": True},
    {"shrinkage": "ledoit-wolf"},
    {"shrinkage": 0.1, "unit_trace": True},
]


def signals(count: int) -> Tensor:
    return torch.randn(count, 4, 30) * torch.tensor([1.0, 2.0, 0.5, 3.0])[:, None] + 5


class TestCovariancePooling(LayerSuite):
    # a mean of 5 is subtracted from deviations of 0.5, and their squares are summed
    cases = tuple(
        LayerCase(
            lambda kind=kind: CovariancePooling(**kind),  # type: ignore[misc]
            signals,
            (4, 4),
            cond=512.0,
            manifold_out=SPDAffineInvariant(4),
        )
        for kind in KINDS
    )


def test_without_shrinkage_it_is_numpys_covariance() -> None:
    x = signals(3).double()
    expected = np.stack([np.cov(a) for a in x.numpy()])
    assert np.allclose(CovariancePooling()(x).numpy(), expected, rtol=1e-13, atol=1e-13)


def test_shrinkage_keeps_the_trace_and_mixes_in_the_identity() -> None:
    x = signals(3).double()
    plain, shrunk = CovariancePooling()(x), CovariancePooling(0.25)(x)
    mean = plain.diagonal(dim1=-2, dim2=-1).mean(-1)
    assert torch.allclose(shrunk, 0.75 * plain + 0.25 * mean[:, None, None] * torch.eye(4).double(), rtol=1e-13)


def test_unit_trace_forgets_the_scale() -> None:
    x = signals(3).double()
    layer = CovariancePooling(0.25, unit_trace=True)
    assert torch.allclose(layer(x).diagonal(dim1=-2, dim2=-1).sum(-1), torch.ones(3).double(), rtol=1e-14)
    assert torch.allclose(layer(7 * x), layer(x), rtol=1e-12)


@pytest.mark.parametrize("t", [3, 12, 200])
def test_ledoit_wolf_is_sklearns(t: int) -> None:
    x = torch.randn(5, 6, t, dtype=torch.float64) * torch.linspace(0.2, 4, 6)[:, None]
    layer = CovariancePooling("ledoit-wolf")
    for one in x:
        theirs, amount = sklearn_ledoit_wolf(one.T.numpy())
        assert ledoit_wolf(one - one.mean(-1, keepdim=True)).item() == pytest.approx(amount, rel=1e-12)
        # sklearn divides by t, this layer by t - 1
        assert np.allclose(layer(one).numpy() * (t - 1) / t, theirs, rtol=1e-12, atol=1e-13)


def test_ledoit_wolf_of_what_is_a_multiple_of_the_identity_needs_no_shrinkage_and_has_a_gradient() -> None:
    x = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    y = CovariancePooling("ledoit-wolf")(x)
    assert torch.allclose(y, 2 / 3 * torch.eye(2).double())
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_fewer_samples_than_signals_give_a_positive_definite_matrix_with_shrinkage(kind: dict[str, Any]) -> None:
    x = torch.randn(5, 8, 4, dtype=torch.float64)
    assert torch.linalg.matrix_rank(torch.cov(x[0])) == 3
    values = torch.linalg.eigvalsh(CovariancePooling(**kind)(x))
    assert (values[..., 0] > 1e-3 * values[..., -1]).all()


def test_without_shrinkage_too_few_samples_are_refused() -> None:
    CovariancePooling()(torch.randn(2, 8, 9))
    with pytest.raises(ShapeError, match=r"at least 9 samples of 8 signals, but got 8\. .* give shrinkage > 0"):
        CovariancePooling()(torch.randn(2, 8, 8))
    with pytest.raises(ShapeError, match="at least 2 samples of 8 signals, but got 1"):
        CovariancePooling(0.1)(torch.randn(2, 8, 1))


def test_learnable_shrinkage_starts_where_it_is_told_and_learns() -> None:
    layer = CovariancePooling(0.2, learnable=True)
    x = signals(3)
    assert torch.allclose(layer(x), CovariancePooling(0.2)(x), rtol=1e-6)
    before = layer.logit.item()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(x).square().sum().backward()  # least for the identity's share alone
    optimizer.step()
    assert layer.logit.item() > before == pytest.approx(math.log(0.25), rel=1e-6)


@pytest.mark.parametrize(
    ("shrinkage", "learnable"),
    [(-0.1, False), (1.0, False), (math.nan, False), (0.0, True), ("oas", False), ("ledoit-wolf", True)],
)
def test_bad_arguments(shrinkage: float | str, learnable: bool) -> None:
    with pytest.raises(ValueError, match=f"expected .* but got shrinkage={shrinkage!r}, learnable={learnable}"):
        CovariancePooling(shrinkage, learnable=learnable)


@pytest.mark.peers
def test_spd_learn_agrees() -> None:
    from spd_learn.functional import sample_covariance

    x = signals(3).double()
    assert torch.allclose(CovariancePooling()(x), sample_covariance(x), rtol=1e-13)
