import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear, softmax

from isometry.layers import LogEig, ReEig
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import ShapeError, StiefelEuclidean, named_manifolds
from isometry.models import MAtt
from tests.models.suite import ModelTests


def signals(count: int) -> Tensor:
    return torch.randn(count, 3, 40)


def small() -> MAtt:
    return MAtt(3, 4, segments=3, filters=(7, 5), kernel=6, size=4)


class TestMAtt(ModelTests, LayerSuite):
    # two convolutions, covariances of condition 100, and five decompositions
    cases = (LayerCase(small, signals, (4,), cond=16384.0, name="small"),)


def test_it_is_the_network_of_the_paper_step_by_step() -> None:
    """Attention written out for one signal: similarities, softmax over the keys, and the mean of logarithms."""
    model = small().double().eval()
    x = signals(1).double()
    features = model.convolutions(x)[0]
    assert features.shape == (5, 41)
    covariances = []
    for part in (features[:, :14], features[:, 14:28], features[:, 28:]):
        c = torch.cov(part)
        c = c / c.trace()
        covariances.append((1 - 1e-4) * c + 1e-4 / 5 * torch.eye(5).double())
    log = LogEig()
    attention = model.attention
    q, k, v = (
        [log(m.weight.mT @ c @ m.weight) for c in covariances]
        for m in (attention.query, attention.key, attention.value)
    )
    vectors = []
    for query in q:
        distances = torch.stack([torch.linalg.matrix_norm(query - key) for key in k])
        weights = softmax(1 / (1 + torch.log(1 + distances)), 0)
        mean = torch.linalg.matrix_exp(sum(w * value for w, value in zip(weights, v, strict=True)))
        vectors.append(model.tangent[1](log(ReEig(1e-4)(mean))))
    expected = linear(torch.cat(vectors), model.classifier.weight, model.classifier.bias)
    assert torch.allclose(model(x)[0], expected, rtol=1e-9, atol=1e-9)


def test_the_network_of_mamem() -> None:
    model = MAtt()
    assert model(torch.randn(6, 8, 125)).shape == (6, 5)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes["attention.query.weight"] == (15, 12)
    assert shapes["classifier.weight"] == (5, 7 * 12 * 13 // 2)
    assert named_manifolds(model) == {
        f"attention.{name}.weight": StiefelEuclidean(15, 12) for name in ("query", "key", "value")
    }


def test_segments_shorter_than_the_filters_need_shrinkage() -> None:
    x = torch.randn(2, 8, 125)
    assert MAtt(segments=15)(x).isfinite().all()
    with pytest.raises(ShapeError, match="at least 16 samples of 15 signals, but got 9"):
        MAtt(segments=15, shrinkage=0.0)(x)


def test_no_segments_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one segment, but got segments=0"):
        MAtt(segments=0)
