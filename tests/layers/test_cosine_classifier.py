import math

import pytest
import torch

from isometry.layers import CosineClassifier
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Sphere, named_manifolds
from isometry.trainers.optim import RiemannianSGD


class TestCosineClassifier(LayerSuite):
    cases = (
        LayerCase(lambda: CosineClassifier(5, 7), lambda n: torch.randn(n, 5), (7,)),
        LayerCase(lambda: CosineClassifier(2, 3, scale=4.0), lambda n: torch.randn(n, 6, 2), (6, 3)),
    )


def test_it_is_torchs_cosine_similarity() -> None:
    layer, x = CosineClassifier(5, 7, scale=3.0, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    expected = 3 * torch.nn.functional.cosine_similarity(x.unsqueeze(1), layer.weight, dim=-1)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(1e-100 * x), expected)
    torch.testing.assert_close(layer(1e100 * x), expected)


def test_a_feature_without_direction_has_logits_zero_and_a_finite_gradient() -> None:
    layer, x = CosineClassifier(5, 7, scale=3.0), torch.zeros(2, 5, requires_grad=True)
    logits = layer(x)
    assert not logits.any()
    (gradient,) = torch.autograd.grad(logits[0, 0], x)
    assert torch.equal(gradient[0], 3 * layer.weight[0])


def test_half_precision_is_computed_in_full() -> None:
    layer, x = CosineClassifier(64, 7, scale=64.0), torch.randn(8, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), 64 * layer.cosines(x, layer.weight))
        assert layer(x.bfloat16()).dtype == torch.float32


def test_a_step_turns_the_weight_on_the_sphere() -> None:
    layer = CosineClassifier(5, 7, dtype=torch.float64)
    assert named_manifolds(layer) == {"weight": Sphere(4)}
    x, target = torch.randn(64, 5, dtype=torch.float64), torch.randint(7, (64,))
    optimizer = RiemannianSGD(layer, lr=0.1)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(layer(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    torch.testing.assert_close(torch.linalg.vector_norm(layer.weight, dim=-1), torch.ones(7, dtype=torch.float64))


@pytest.mark.parametrize("p", [0.9, 0.999])
def test_the_scale_that_a_probability_takes_is_the_documented_one(p: float) -> None:
    """At the simplex, where each sample sits on its class's vector: no arrangement is better."""
    from isometry.layers import simplex_codes

    scale = (1 - 1 / 7) * math.log(p * 6 / (1 - p))
    layer = CosineClassifier(6, 7, scale=scale, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(simplex_codes(7, torch.float64))
    best = layer(layer.weight).softmax(-1).diagonal()
    torch.testing.assert_close(best, torch.full_like(best, p))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="CosineClassifier: expected a positive scale, but got 0"):
        CosineClassifier(5, 7, scale=0.0)
    with pytest.raises(ValueError, match="expected an intrinsic dimension >= 1"):
        CosineClassifier(1, 7)
