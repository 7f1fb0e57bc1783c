import math

import mpmath
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isometry.layers import simplex_codes
from isometry.layers.hyperbolic import Busemann, HyperbolicPrototypes
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall, ShapeError, named_manifolds
from isometry.trainers.optim import RiemannianAdam
from tests.layers.clouds import cloud
from tests.layers.hyperbolic.models import C, ball_points, moved, pair, to_lorentz

MANIFOLDS = [PoincareBall(3, C, learnable=True), Lorentz(3), Euclidean(3)]


class TestBusemann(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: Busemann(m, 4), lambda n, m=m: cloud(m, n, 2), out_shape=(2, 4), manifold_in=m, name=repr(m)
        )
        for m in MANIFOLDS
    )


class TestHyperbolicPrototypes(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: moved(HyperbolicPrototypes(m, simplex_codes(4), 0.7)),
            lambda n, m=m: cloud(m, n, 2),
            out_shape=(2, 4),
            manifold_in=m,
            name=repr(m),
        )
        for m in MANIFOLDS
    )


def busemann(x: list[float], ideal: list[float], c: float) -> float:
    """On the ball, ``log(|sqrt(c) x - xi|^2 / (1 - c|x|^2)) / sqrt(c)``, with xi brought to length 1."""
    root = mpmath.sqrt(c)
    length = mpmath.sqrt(sum(mpmath.mpf(v) ** 2 for v in ideal))
    delta = sum((root * mpmath.mpf(a) - mpmath.mpf(b) / length) ** 2 for a, b in zip(x, ideal, strict=True))
    return float(mpmath.log(delta / (1 - c * sum(mpmath.mpf(v) ** 2 for v in x))) / root)


@pytest.mark.parametrize("radius", [1.0, 5.0, 12.0])
def test_it_is_the_closed_form_in_both_models(radius: float) -> None:
    ball, hyperboloid = pair(lambda m: Busemann(m, 6), dim=3)
    with torch.no_grad():
        for layer in (ball, hyperboloid):
            layer.ideal.copy_(F.normalize(ball.ideal, dim=-1))
    x = ball_points(10, dim=3, radius=radius)
    with mpmath.workdps(60):
        expected = [[busemann(p, xi, mpmath.mpf(C)) for xi in ball.ideal.tolist()] for p in x.tolist()]
    torch.testing.assert_close(ball(x), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(hyperboloid(to_lorentz(x)), ball(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("manifold", [PoincareBall(3, C), Lorentz(3, C)], ids=repr)
def test_it_is_a_limit_of_distances_and_changes_by_a_constant(manifold: PoincareBall | Lorentz) -> None:
    """Distances from a point far out towards xi, less that of the origin; and the same after an isometry."""
    layer = Busemann(manifold, 5).double()
    x = cloud(manifold, 10, spread=1.0)
    origin = manifold.origin(*manifold.point_shape, dtype=x.dtype)
    far = manifold.expmap(origin, manifold.origin_vector(18 * F.normalize(layer.ideal.detach(), dim=-1)))
    limit = manifold.dist(x.unsqueeze(1), far) - manifold.dist(origin, far)
    torch.testing.assert_close(layer(x), limit, rtol=0, atol=1e-8)

    g = manifold.random_isometry(torch.Generator().manual_seed(1), torch.float64)
    other = Busemann(manifold, 5).double()
    with torch.no_grad():
        other.ideal.copy_(F.normalize(manifold.spatial(manifold.act(g, far)), dim=-1))
    change = other(manifold.act(g, x)) - layer(x)
    torch.testing.assert_close(change, change[:1].expand_as(change), rtol=0, atol=1e-7)


def test_float32_at_radius_15_and_on_the_ray_is_float64s() -> None:
    for manifold in (PoincareBall(4), Lorentz(4)):
        layer = Busemann(manifold, 4)
        u = 15 * torch.cat([layer.ideal.detach(), F.normalize(torch.randn(8, 4), dim=-1)]).double()
        origin = manifold.origin(*manifold.point_shape, dtype=torch.float64)
        x = manifold.expmap(origin, manifold.origin_vector(u)).float()
        y = layer(x).double()
        assert y.isfinite().all()
        torch.testing.assert_close(y, layer.double()(x.double()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
def test_flat_space_is_the_limit(model: type) -> None:
    curved, flat = Busemann(model(4, 1e-10), 3).double(), Busemann(Euclidean(4), 3).double()
    with torch.no_grad():
        flat.ideal.copy_(curved.ideal)
    s = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(curved(curved.manifold.from_spatial(s)), flat(s), rtol=0, atol=1e-4)
    torch.testing.assert_close(flat(s), -s @ F.normalize(flat.ideal, dim=-1).mT, rtol=0, atol=0)


def test_the_penalised_loss_is_the_published_one() -> None:
    """On the unit ball: ``log(|p - z|^2/(1 - |z|^2)) - phi log(1 - |z|^2)``."""
    codes, z = simplex_codes(4, torch.float64), C**0.5 * ball_points(6, dim=3)
    target = torch.arange(6) % 4
    a = 1 - z.square().sum(-1)
    expected = (((codes[target] - z).square().sum(-1) / a).log() - 2.0 * a.log()).mean()
    logits = HyperbolicPrototypes(PoincareBall(3), codes, 2.0)(z)
    torch.testing.assert_close(nn.NLLLoss()(logits, target), expected, rtol=1e-12, atol=1e-12)


def test_ideal_points_are_learned_on_the_sphere() -> None:
    layer = Busemann(Lorentz(3), 4)
    assert set(named_manifolds(layer)) == {"ideal"}
    x = Lorentz(3).random(16, 4)
    optimizer = RiemannianAdam(layer, lr=0.1)
    before = layer.ideal.detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        optimizer.step()
    assert (layer.ideal.norm(dim=-1) - 1).abs().max() < 1e-6
    assert (layer.ideal - before).abs().max() > 0.1


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="num_features >= 1"):
        Busemann(Lorentz(3), 0)
    with pytest.raises(ShapeError, match=r"prototypes \[K, 3\]"):
        HyperbolicPrototypes(Lorentz(3), torch.ones(4, 2))
    with pytest.raises(ValueError, match="no direction"):
        HyperbolicPrototypes(Lorentz(3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="expected penalty >= 0"):
        HyperbolicPrototypes(Lorentz(3), torch.ones(4, 3), math.nan)
