import pytest
import torch
from torch import Tensor, nn

from isometry.layers import Classifier
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import (
    Euclidean,
    Lorentz,
    Manifold,
    PoincareBall,
    PowerDeformed,
    ShapeError,
    SPDAffineInvariant,
    SPDBuresWasserstein,
    SPDGeneralizedBuresWasserstein,
    SPDLogCholesky,
    SPDLogEuclidean,
    Sphere,
    named_manifolds,
)
from isometry.trainers.optim import RiemannianAdam
from tests.layers.closed_forms import BuresWasserstein as ClosedForms
from tests.layers.closed_forms import spectral
from tests.layers.clouds import cloud

M = torch.tensor([[2.0, 0.3, 0.1], [0.3, 0.7, -0.2], [0.1, -0.2, 1.1]], dtype=torch.float64)

MANIFOLDS = [
    Euclidean(3),
    Sphere(3),
    PoincareBall(3, c=0.5),
    Lorentz(3),
    SPDAffineInvariant(3),
    SPDLogEuclidean(3),
    SPDLogCholesky(3),
    SPDBuresWasserstein(3),
    SPDGeneralizedBuresWasserstein(3, M),
    PowerDeformed(SPDAffineInvariant(3), 0.5),
    PowerDeformed(SPDBuresWasserstein(3), 0.5),
]


def trained(manifold: Manifold, num_classes: int = 4) -> Classifier:
    """A layer in float64 whose points are not the origin."""
    layer = Classifier(manifold, num_classes).double()
    with torch.no_grad():
        layer.points.copy_(cloud(manifold, num_classes, seed=7))
    return layer


class TestClassifier(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: trained(m),
            lambda n, m=m: cloud(m, n, 2),
            out_shape=(2, 4),
            manifold_in=m,
            name=repr(m),
        )
        for m in (
            Euclidean(3),
            Sphere(3),
            PoincareBall(3, c=0.5, learnable=True),
            SPDAffineInvariant(3),
            SPDLogEuclidean(3),
            SPDLogCholesky(3),
            SPDGeneralizedBuresWasserstein(2, M[:2, :2], learnable=True),
        )
    )


def test_in_flat_space_it_is_torchs_linear() -> None:
    layer, linear = trained(Euclidean(5), 3), nn.Linear(5, 3).double()
    with torch.no_grad():
        linear.weight.copy_(layer.weight)
        linear.bias.copy_(-(layer.points * layer.weight).sum(-1))
    x = torch.randn(4, 2, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), linear(x), rtol=0, atol=1e-14)


def test_it_starts_as_torchs_linear_of_the_logarithm() -> None:
    torch.manual_seed(0)
    layer = Classifier(Euclidean(5), 3)
    torch.manual_seed(0)
    assert torch.equal(layer.weight, nn.Linear(5, 3, bias=False).weight)
    assert torch.equal(layer.points, torch.zeros(3, 5))
    assert set(named_manifolds(layer)) == {"points"}


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_logits_are_the_definition(manifold: Manifold) -> None:
    """At the points, with the vectors carried there, one sample and one class after the other."""
    layer, x = trained(manifold), cloud(manifold, 3)
    origin = manifold.origin(*manifold.point_shape, dtype=torch.float64)
    logits = layer(x)
    for i in range(3):
        for k in range(4):
            p = layer.points[k]
            direction = manifold.transp(origin, p, manifold.proju(origin, layer.weight[k]))
            expected = manifold.inner(p, manifold.logmap(p, x[i]), direction)
            torch.testing.assert_close(logits[i, k], expected, rtol=1e-12, atol=1e-12)


def log_euclidean(p: Tensor, x: Tensor, a: Tensor) -> Tensor:
    return ((spectral(x, torch.log) - spectral(p, torch.log)) * a).sum((-2, -1))


def affine_invariant(p: Tensor, x: Tensor, a: Tensor) -> Tensor:
    root = spectral(p, lambda v: v**-0.5)
    return (spectral(root @ x @ root, torch.log) * a).sum((-2, -1))


def log_cholesky(p: Tensor, x: Tensor, a: Tensor) -> Tensor:
    """Of the factors the strictly lower triangle and the logarithm of the diagonal, with half the diagonal of a."""
    k, lower = torch.linalg.cholesky(x), torch.linalg.cholesky(p)
    strictly = ((k - lower).tril(-1) * a).sum((-2, -1))
    diagonal = (k.diagonal(dim1=-2, dim2=-1).log() - lower.diagonal(dim1=-2, dim2=-1).log()) / 2
    return strictly + (diagonal * a.diagonal(dim1=-2, dim2=-1)).sum(-1)


def bures_wasserstein(p: Tensor, x: Tensor, a: Tensor) -> Tensor:
    """The metric at the identity is a quarter of Frobenius's."""
    return (ClosedForms.transport(p, ClosedForms.log(p, x), True) * a).sum((-2, -1)) / 4


@pytest.mark.parametrize(
    ("manifold", "logit"),
    [
        (SPDLogEuclidean(3), log_euclidean),
        (SPDAffineInvariant(3), affine_invariant),
        (SPDLogCholesky(3), log_cholesky),
        (SPDBuresWasserstein(3), bures_wasserstein),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_on_matrices_it_is_the_closed_form_of_each_metric(manifold: Manifold, logit: object) -> None:
    """Chen et al. 2024, table 2, with the vectors carried by parallel transport."""
    assert callable(logit)
    layer, x = trained(manifold), cloud(manifold, 3)
    points, vectors = layer.points.detach(), (layer.weight + layer.weight.mT).detach() / 2
    expected = torch.stack([logit(p, x, a) for p, a in zip(points, vectors, strict=True)], -1)
    torch.testing.assert_close(layer(x).detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("manifold", [Sphere(3), SPDAffineInvariant(3), SPDBuresWasserstein(3)], ids=repr)
def test_it_learns_two_clusters(manifold: Manifold) -> None:
    x = torch.cat([cloud(manifold, 20, spread=0.3, seed=s) for s in (0, 1)])
    shift = manifold.logmap(x[:1], cloud(manifold, 1, spread=0.9, seed=9))
    x[20:] = manifold.expmap(x[20:], manifold.transp(x[:1], x[20:], shift))
    target = torch.arange(40) // 20
    layer = Classifier(manifold, 2).double()
    optimizer = RiemannianAdam(layer, lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(4 * layer(x), target).backward()
        optimizer.step()
    assert (layer(x).argmax(-1) == target).double().mean() > 0.95
    assert manifold.point_residual(layer.points).max() < 1e-12


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one class"):
        Classifier(Euclidean(3), 0)
    with pytest.raises(ShapeError, match="point ends in dimensions"):
        Classifier(SPDLogEuclidean(3), 2)(torch.eye(4))
