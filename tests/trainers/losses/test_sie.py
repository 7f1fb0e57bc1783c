import numpy as np
import pytest
import torch

from isometry.models import SplitViews
from isometry.trainers.losses import SIELoss
from isometry.trainers.losses.sie import covariance_penalty, variance_penalty


def views(count: int = 12) -> SplitViews:
    sizes = (4, 4, 3, 3, 3)
    return SplitViews(*(0.7 * torch.randn(count, size, dtype=torch.float64) for size in sizes))


def test_it_is_the_formula_with_numpy() -> None:
    made = views()
    xi, yi, xe, ye, predicted = (v.numpy() for v in made)
    x, y = np.hstack([xi, xe]), np.hstack([yi, ye])

    def variance(v: np.ndarray) -> float:
        return float(np.maximum(1 - np.sqrt(v.var(0, ddof=1) + 1e-4), 0).mean() / 2)

    def covariance(v: np.ndarray) -> float:
        c = np.cov(v.T)
        return float((c[~np.eye(len(c), dtype=bool)] ** 2).sum() / len(c))

    expected = (
        2 * np.mean((xi - yi) ** 2)
        + 3 * np.mean((predicted - ye) ** 2)
        + 5 * (variance(x) + variance(y) + variance(predicted))
        + 7 * (covariance(x) + covariance(y))
    )
    assert np.isclose(SIELoss(2, 3, 5, 7)(made).item(), expected, rtol=1e-12)


def test_the_penalties_are_0_for_features_that_vary_alone() -> None:
    q = torch.linalg.qr(torch.randn(20, 5, dtype=torch.float64)).Q
    centred = torch.linalg.qr(q - q.mean(0)).Q * 20**0.5
    assert variance_penalty(centred) == 0
    assert covariance_penalty(centred) < 1e-25


def test_a_collapse_costs_most_and_has_finite_derivatives() -> None:
    made = SplitViews(*(torch.zeros(8, size, requires_grad=True) for size in (4, 4, 3, 3, 3)))
    loss = SIELoss()(made)
    assert loss.item() == pytest.approx(3 * 10 * 0.99 / 2)
    for gradient in torch.autograd.grad(loss, list(made)):
        assert gradient.isfinite().all()


def test_derivatives() -> None:
    made = views(6)
    torch.autograd.gradcheck(lambda *v: SIELoss()(SplitViews(*v)), [v.requires_grad_() for v in made])
