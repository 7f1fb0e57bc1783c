import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from isometry.trainers.metrics import ClassProbe, PairProbe


def standardised(x: Tensor) -> Tensor:
    half = x[: len(x) // 2]
    return (x - half.mean(0)) / half.std(0)


def test_classes_as_by_the_ridge_regression_of_scikit_learn() -> None:
    labels = torch.randint(3, (80,))
    features = torch.randn(3, 5).double()[labels] + torch.randn(80, 5).double()
    probe = ClassProbe(3, penalty=0.2)
    for rows in torch.arange(80).split(32):
        probe.update(features[rows], labels[rows])
    x, targets = standardised(features).numpy(), torch.eye(3)[labels].double().numpy()
    penalty = 0.2 * (x[:40] ** 2).sum(1).mean()
    peer = Ridge(alpha=penalty, fit_intercept=False).fit(x[:40], targets[:40] - targets[:40].mean(0))
    predicted = (peer.predict(x[40:]) + targets[:40].mean(0)).argmax(1)
    assert probe.compute().item() == pytest.approx((predicted == labels[40:].numpy()).mean())


def test_pairs_as_by_a_regression_on_all_products() -> None:
    x, y = torch.randn(90, 3).double(), torch.randn(90, 3).double()
    targets = torch.stack([x[:, 0] * y[:, 1] + 0.5 * y[:, 2], x[:, 1]], 1) + 0.1 * torch.randn(90, 2)
    probe = PairProbe(penalty=0.01)
    probe.update(x, y, targets)
    one = torch.ones(90, 1).double()
    left, right = (torch.cat([one, standardised(v) / 3**0.5], 1) for v in (x, y))
    products = (left[:, :, None] * right[:, None, :]).flatten(1).numpy()
    t = targets.numpy()
    penalty = 0.01 * (products[:45] ** 2).sum(1).mean()
    peer = Ridge(alpha=penalty, fit_intercept=False).fit(products[:45], t[:45] - t[:45].mean(0))
    residual = peer.predict(products[45:]) + t[:45].mean(0) - t[45:]
    expected = 1 - (residual**2).sum() / ((t[45:] - t[45:].mean(0)) ** 2).sum()
    assert probe.compute().item() == pytest.approx(expected, rel=1e-9)
    assert expected > 0.8


def test_features_that_know_nothing() -> None:
    """Constant ones, and a target that has nothing to do with them."""
    probe, pairs = ClassProbe(4), PairProbe()
    labels = torch.arange(400) % 4
    probe.update(torch.ones(400, 2), labels)
    assert probe.compute().item() == pytest.approx(0.25)
    pairs.update(torch.ones(400, 2), torch.ones(400, 2), torch.randn(400, 3, 3))
    assert abs(pairs.compute().item()) < 0.05


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match=r"ClassProbe: expected a positive penalty, but got 0\.0"):
        ClassProbe(3, penalty=0.0)
    with pytest.raises(ValueError, match="PairProbe: no sample was given"):
        PairProbe().compute()
