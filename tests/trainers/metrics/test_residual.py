import numpy as np
import pytest
import torch

from isometry.trainers.metrics import Residual


def test_it_is_numpy_over_all_batches() -> None:
    metric, errors = Residual(), [torch.randn(3, 3), torch.randn(1), torch.randn(4, 2, 2)]
    for error in errors:
        metric.update(error)
    flat = torch.cat([error.flatten() for error in errors]).double().numpy()
    values = metric.compute()
    assert values["mae"].item() == pytest.approx(np.abs(flat).mean(), rel=1e-12)
    assert values["rmse"].item() == pytest.approx(np.sqrt((flat**2).mean()), rel=1e-12)


def test_small_errors_count_beside_many() -> None:
    """Sums in float32 would lose each of them."""
    metric = Residual()
    metric.update(torch.tensor([1e4]))
    for _ in range(1000):
        metric.update(torch.tensor([1e-4]))
    assert metric.compute()["mae"].item() == pytest.approx((1e4 + 0.1) / 1001, rel=1e-9)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric Residual was called before")
def test_without_samples_there_are_no_values() -> None:
    assert Residual().compute() == {}
