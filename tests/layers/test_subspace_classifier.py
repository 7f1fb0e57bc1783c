import pytest
import scipy.linalg
import torch

from isometry.layers import SubspaceClassifier
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Grassmann, named_manifolds
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds.testing import assert_close_points, assert_on_manifold, assert_small
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD


class TestSubspaceClassifier(LayerSuite):
    cases = (
        LayerCase(lambda: SubspaceClassifier(6, 7, 2), lambda n: torch.randn(n, 6), (7,)),
        LayerCase(lambda: SubspaceClassifier(4, 3, 3, scale=2.0), lambda n: torch.randn(n, 5, 4), (5, 3)),
        LayerCase(lambda: SubspaceClassifier(4, 3, 1), lambda n: torch.randn(n, 4), (3,)),
    )


def test_logits_are_the_cosines_of_scipys_angles() -> None:
    layer, x = SubspaceClassifier(6, 4, 3, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    for row, logits in zip(x, layer(x).detach(), strict=True):
        for frame, logit in zip(layer.weight.detach(), logits, strict=True):
            angle = torch.from_numpy(scipy.linalg.subspace_angles(row.unsqueeze(1).numpy(), frame.numpy()))
            assert_small(logit - 25 * angle.cos(), 1e-12, "logit - 25 cos(angle)")


def test_one_dimension_is_the_absolute_cosine() -> None:
    layer, x = SubspaceClassifier(6, 4, 1, scale=3.0, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    cosine = torch.nn.functional.cosine_similarity(x.unsqueeze(1), layer.weight.squeeze(-1), dim=-1)
    assert_small(layer(x) - 3 * cosine.abs(), 1e-14, "logit - |cosine|")


def test_logits_and_steps_belong_to_the_subspaces() -> None:
    """Another frame of each gives the same logits, and the same subspaces after a step."""
    x, target = torch.randn(32, 6, dtype=torch.float64), torch.randint(4, (32,))
    layers = [SubspaceClassifier(6, 4, 3, dtype=torch.float64) for _ in range(2)]
    with torch.no_grad():
        layers[1].weight.copy_(layers[0].weight @ random_orthogonal(3, dtype=torch.float64))
    for optimizer, options in ((RiemannianSGD, {"lr": 0.1, "momentum": 0.9}), (RiemannianAdam, {"lr": 0.05})):
        for layer in layers:
            steps = optimizer(layer, **options)
            for _ in range(3):
                steps.zero_grad()
                torch.nn.functional.cross_entropy(layer(x), target).backward()
                steps.step()
        assert_small(layers[0](x) - layers[1](x), 1e-12, "logits in another frame")
        assert_close_points(Grassmann(6, 3), layers[0].weight, layers[1].weight, atol=1e-13)


def test_a_feature_in_no_direction_and_one_across_a_subspace() -> None:
    layer = SubspaceClassifier(4, 3, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4, 2).expand(3, 4, 2))
    for x in (torch.zeros(4), torch.tensor([0.0, 0.0, 1.0, 2.0])):
        x = x.double().requires_grad_()
        logits = layer(x)
        assert not logits.any()
        for gradient in torch.autograd.grad(logits.sum(), (x, layer.weight)):
            assert not gradient.any()


def test_large_and_small_features_have_the_same_logits() -> None:
    layer, x = SubspaceClassifier(6, 4, 3, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    for scale in (1e-100, 1e100):
        assert_small(layer(scale * x) - layer(x), 1e-13, "logits of a scaled feature")


def test_half_precision_is_computed_in_full() -> None:
    layer, x = SubspaceClassifier(64, 7, 4), torch.randn(8, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), 25 * layer.cosines(x, layer.weight))
        assert layer(x.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("optimizer", "options"), [(RiemannianSGD, {"lr": 0.1, "momentum": 0.9}), (RiemannianAdam, {"lr": 0.05})]
)
def test_training_goes_down_on_the_manifold_and_ignores_weight_decay(
    optimizer: type, options: dict[str, float]
) -> None:
    assert named_manifolds(SubspaceClassifier(6, 4, 2)) == {"weight": Grassmann(6, 2)}
    x, target = torch.randn(64, 6, dtype=torch.float64), torch.randint(4, (64,))
    start = Grassmann(6, 2).random(4, 6, 2, dtype=torch.float64)
    ends = []
    for decay in (0.0, 0.1):
        layer = SubspaceClassifier(6, 4, 2, dtype=torch.float64)
        layer.weight.data.copy_(start)
        steps = optimizer(layer, weight_decay=decay, **options)
        losses = []
        for _ in range(10):
            loss = torch.nn.functional.cross_entropy(layer(x), target)
            steps.zero_grad()
            loss.backward()
            steps.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]
        assert_on_manifold(Grassmann(6, 2), layer.weight, atol=1e-14)
        ends.append(layer.weight.detach())
    assert_close_points(Grassmann(6, 2), *ends, atol=1e-11)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="SubspaceClassifier: expected a positive scale, but got -1"):
        SubspaceClassifier(6, 4, 2, scale=-1.0)
    with pytest.raises(ValueError, match="expected subspaces of dimension 1 <= k < n, but got n=6, k=6"):
        SubspaceClassifier(6, 4, 6)
