import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from isometry.layers import BatchNorm, BiMap, LogEig, ReEig
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import (
    Manifold,
    PowerDeformed,
    SPDAffineInvariant,
    SPDBuresWasserstein,
    SPDGeneralizedBuresWasserstein,
    SPDLogCholesky,
    SPDLogEuclidean,
    StiefelEuclidean,
    named_manifolds,
)
from isometry.manifolds.testing import assert_on_manifold
from isometry.models import SPDNet
from isometry.trainers.optim import RiemannianSGD
from tests.layers.decompositions import CountDecompositions
from tests.models.suite import ModelTests

SIZES, CLASSES = (6, 5, 4), 4  # 10 coordinates: eight samples can be told apart
METRICS: list[Manifold | list[Manifold]] = [
    SPDAffineInvariant(4),
    SPDBuresWasserstein(4),
    [PowerDeformed(SPDGeneralizedBuresWasserstein(n, learnable=True), 0.5) for n in SIZES[1:]],
    SPDLogEuclidean(4),
    SPDLogCholesky(4),
]


def points(count: int) -> Tensor:
    return SPDAffineInvariant(6).random(count, 6, 6)


class TestSPDNet(ModelTests, LayerSuite):
    # points of condition 17, a dozen products and decompositions in a row
    cases = tuple(
        LayerCase(
            lambda norm=norm: SPDNet(SIZES, CLASSES, batch_norm=norm),  # type: ignore[misc]
            points,
            (CLASSES,),
            cond=4096.0,
            manifold_in=SPDAffineInvariant(6),
            name="plain" if norm is None else f"{norm} norm",
        )
        for norm in (None, SPDAffineInvariant(4))
    )


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: type(m[0] if isinstance(m, list) else m).__name__)
def test_it_learns_with_the_batch_norm_of_every_metric(metric: Manifold | list[Manifold]) -> None:
    model, x, labels = SPDNet(SIZES, CLASSES, batch_norm=metric), points(8), torch.arange(8) % CLASSES
    norms = [layer for layer in model.features if isinstance(layer, BatchNorm)]
    assert all(type(norm.manifold) is type(metric[0] if isinstance(metric, list) else metric) for norm in norms)
    assert [norm.manifold.point_shape for norm in norms] == [(5, 5), (4, 4)]
    optimizer = RiemannianSGD(model, lr=0.2)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), labels)
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    for name, manifold in named_manifolds(model).items():
        assert_on_manifold(manifold, model.get_parameter(name).detach(), atol=1e-5)
    assert model.eval()(x).isfinite().all()


def test_it_is_the_layers_of_the_paper_and_rectifies_last_in_the_logarithm() -> None:
    model = SPDNet(SIZES, CLASSES, batch_norm=SPDLogEuclidean(4))
    kinds = [type(layer) for layer in model.features]
    assert kinds[:-1] == [BiMap, BatchNorm, ReEig, BiMap, BatchNorm, LogEig]
    assert model.features[-2].eps == 1e-4
    assert model.features[4].manifold == SPDLogEuclidean(4)
    assert model.classifier.in_features == 10
    model.eval()
    x = y = points(5)
    for layer in (*list(model.features)[:-2], ReEig(1e-4), LogEig(), model.features[-1], model.classifier):
        y = layer(y)
    assert torch.allclose(model(x), y, rtol=1e-5, atol=1e-6)


def test_each_matrix_is_decomposed_once() -> None:
    """Once in all: the rectifiers between have nothing to do, and the last one is part of the logarithm."""
    model, x = SPDNet(SIZES, CLASSES), points(5)
    with CountDecompositions() as count:
        model(x).sum().backward()
    assert (count.vectors, count.values) == (5, 0)


def test_every_bilinear_map_knows_its_manifold() -> None:
    assert named_manifolds(SPDNet(SIZES, CLASSES)) == {
        "features.0.weight": StiefelEuclidean(6, 5),
        "features.2.weight": StiefelEuclidean(5, 4),
    }


def test_singular_input_gives_finite_logits_and_gradients() -> None:
    """Without a batch norm, which would need positive definite matrices before the first rectifier."""
    x = torch.zeros(3, 6, 6)
    x[:, 0, 0] = 1
    x.requires_grad_()
    y = SPDNet(SIZES, CLASSES)(x)
    y.square().sum().backward()
    assert y.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match=r"expected the size of the input and of at least one layer, but got \[6\]"):
        SPDNet([6], 4)
    with pytest.raises(ValueError, match=r"expected one manifold, or one for each of 2 bilinear maps, but got 1"):
        SPDNet([6, 5, 4], 4, batch_norm=[SPDLogEuclidean(5)])
    with pytest.raises(ValueError, match="out_features=7 and in_features=6"):
        SPDNet([6, 7], 4)
