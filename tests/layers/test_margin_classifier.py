import math

import mpmath
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from isometry.layers import CosineClassifier, MarginClassifier
from isometry.layers.margin_classifier import angular_margin_cosine, sampled_classes
from isometry.layers.testing import LayerCase, LayerSuite

MP = mpmath.mp.clone()
MP.dps = 60


def samples(count: int) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 5), torch.randint(7, (count,))


class TestMarginClassifier(LayerSuite):
    cases = (
        LayerCase(lambda: MarginClassifier(5, 7), samples, (7,)),
        LayerCase(lambda: MarginClassifier(5, 7, 30.0, angular_margin=0.0, cosine_margin=0.35), samples, (7,)),
        LayerCase(lambda: MarginClassifier(5, 7, feature_fraction=0.6), samples, (7,)),
    )


def exact_angle(x: Tensor, w: Tensor) -> mpmath.mpf:
    x, w = MP.matrix(x.tolist()), MP.matrix(w.tolist())
    return MP.acos((x.T * w)[0] / (MP.norm(x) * MP.norm(w)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("angle", [1e-9, 1e-4, 0.3, 1.5, 2.5, 3.1])
def test_logits_are_the_papers_at_every_angle(angle: float, dtype: torch.dtype) -> None:
    layer = MarginClassifier(6, 3, 64.0, angular_margin=0.5, cosine_margin=0.1, dtype=dtype)
    w = layer.weight[1].detach()
    u = layer.manifold.proju(w, torch.randn(6, dtype=dtype))
    x = 3 * layer.manifold.expmap(w, angle / layer.manifold.norm(w, u) * u).unsqueeze(0)
    theta = exact_angle(x[0], w)
    own = MP.cos(theta + 0.5) if theta + 0.5 <= MP.pi else -2 - MP.cos(theta + 0.5)
    others = [64 * MP.cos(exact_angle(x[0], v)) for v in layer.weight]
    expected = [others[0], 64 * (own - MP.mpf(0.1)), others[2]]
    logits = layer(x, torch.tensor([1]))[0]
    eps = torch.finfo(dtype).eps
    assert all(abs(a - b) < 64 * 8 * eps for a, b in zip(logits.tolist(), expected, strict=True))


@pytest.mark.parametrize("angle", [1e-12, 1e-7, 1e-3, 1.0])
def test_the_gradient_has_the_right_length_however_near_the_centre(angle: float) -> None:
    """``|d cos(theta + m)/dx| = sin(theta + m)`` for a unit x; an arccos gives infinity or noise there."""
    layer = MarginClassifier(6, 3, 1.0, angular_margin=0.5, dtype=torch.float64)
    w = layer.weight[1].detach()
    u = layer.manifold.proju(w, torch.randn(6, dtype=torch.float64))
    x = layer.manifold.expmap(w, angle / layer.manifold.norm(w, u) * u).unsqueeze(0).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x, torch.tensor([1]))[0, 1], x)
    assert gradient.norm().item() == pytest.approx(math.sin(angle + 0.5), rel=1e-9)


def test_the_gradient_at_the_centre_is_zero() -> None:
    layer = MarginClassifier(6, 3, 1.0)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3, 6))
    x = torch.eye(3, 6)[1:2].requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x, torch.tensor([1]))[0, 1], x)
    assert not gradient.any()


def test_the_margins_curve_falls_all_the_way() -> None:
    theta = torch.linspace(0, math.pi, 2001, dtype=torch.float64, requires_grad=True)
    value = angular_margin_cosine(theta, 0.5)
    assert (value.diff() < 0).all()
    (slope,) = torch.autograd.grad(value.sum(), theta)
    assert (slope.diff().abs() < 0.002).all()  # and has no kink


def test_without_margins_it_is_the_cosine_classifier() -> None:
    plain = CosineClassifier(5, 7, 12.0, dtype=torch.float64)
    layer = MarginClassifier(5, 7, 12.0, angular_margin=0.0, dtype=torch.float64)
    layer.load_state_dict(plain.state_dict())
    x, target = torch.randn(20, 5, dtype=torch.float64), torch.randint(7, (20,))
    torch.testing.assert_close(layer(x, target), plain(x))
    margin = MarginClassifier(5, 7, 12.0, class_fraction=0.5, feature_fraction=0.5, dtype=torch.float64)
    margin.load_state_dict(plain.state_dict())
    torch.testing.assert_close(margin(x), plain(x))
    torch.testing.assert_close(margin.eval()(x, target), plain(x))


def test_partial_features_are_a_classifier_of_those_features() -> None:
    layer = MarginClassifier(
        10, 4, 2.0, angular_margin=0.0, cosine_margin=0.2, feature_fraction=0.3, dtype=torch.float64
    )
    x, target = torch.randn(6, 10, dtype=torch.float64), torch.randint(4, (6,))
    seen = set()
    for seed in range(5):
        torch.manual_seed(seed)
        logits = layer(x, target)
        torch.manual_seed(seed)
        features = torch.randperm(10)[:3]
        seen.add(tuple(sorted(features.tolist())))
        cosine = normalize(x[:, features], dim=-1) @ normalize(layer.weight[:, features], dim=-1).mT
        torch.testing.assert_close(logits, 2 * (cosine - 0.2 * nn.functional.one_hot(target, 4)))
    assert len(seen) > 1


def test_classes_that_do_not_take_part_change_nothing() -> None:
    layer = MarginClassifier(5, 40, class_fraction=0.25, dtype=torch.float64)
    x, target = torch.randn(6, 5, dtype=torch.float64), torch.randint(40, (6,))
    logits = layer(x, target)
    kept = logits[0].isfinite()
    assert kept.sum() == 10
    assert kept[target].all()
    assert torch.equal(logits.isfinite(), kept.expand_as(logits))
    loss = cross_entropy(logits, target)
    (gradient,) = torch.autograd.grad(loss, layer.weight)
    assert not gradient[~kept].any()
    index = kept.nonzero().squeeze(1)
    torch.testing.assert_close(loss, cross_entropy(logits[:, index], torch.searchsorted(index, target)))


def test_other_classes_are_drawn_evenly() -> None:
    target = torch.tensor([0, 1, 1])
    draws = torch.stack([sampled_classes(target, 12, 0.5) == 0 for _ in range(4000)]).double()
    assert (draws.sum(1) == 6).all()
    assert (draws[:, :2] == 1).all()
    assert (draws[:, 2:].mean(0) - 0.4).abs().max() < 5 * math.sqrt(0.24 / 4000)


def test_a_batch_of_many_classes_keeps_them_all() -> None:
    assert (sampled_classes(torch.arange(9), 12, 0.1) == 0).tolist() == [True] * 9 + [False] * 3


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"scale": -1.0}, "positive scale, but got -1"),
        ({"angular_margin": 1.6}, "0 <= angular_margin < pi/2, but got 1.6"),
        ({"angular_margin": -0.1}, "angular_margin"),
        ({"cosine_margin": -0.1}, "cosine_margin >= 0, but got -0.1"),
        ({"class_fraction": 0.0}, "0 < class_fraction <= 1, but got 0.0"),
        ({"feature_fraction": 1.5}, "0 < feature_fraction <= 1, but got 1.5"),
    ],
)
def test_bad_arguments_are_refused(argument: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarginClassifier(5, 7, **argument)
