import math

import mpmath
import pytest
import torch
from torch import Tensor

from isometry.layers.hyperbolic import EntailmentCone
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall
from isometry.trainers.losses import EntailmentLoss
from tests.layers.clouds import cloud
from tests.layers.hyperbolic.models import C, ball_points, moved, to_lorentz


class TestEntailmentCone(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: moved(EntailmentCone(m)),
            lambda n, m=m: (cloud(m, n, 2), cloud(m, n, 2, seed=1)),
            out_shape=(2,),
            manifold_in=(m, m),
            name=repr(m),
        )
        for m in (PoincareBall(3, C, learnable=True), Lorentz(3), Euclidean(3))
    )


def energy(x: list[float], y: list[float], K: float) -> float:
    """Hyperbolic entailment cones on the unit ball as printed: angle by arccos, aperture by arcsin."""
    mp = mpmath

    def dot(a: list[float], b: list[float]) -> mpmath.mpf:
        return sum(mp.mpf(p) * mp.mpf(q) for p, q in zip(a, b, strict=True))

    xx, yy, xy = dot(x, x), dot(y, y), dot(x, y)
    d = mp.sqrt(xx + yy - 2 * xy)
    cosine = (xy * (1 + xx) - xx * (1 + yy)) / (mp.sqrt(xx) * d * mp.sqrt(1 + xx * yy - 2 * xy))
    return float(max(mp.mpf(0), mp.acos(cosine) - mp.asin(K * (1 - xx) / mp.sqrt(xx))))


@pytest.mark.parametrize("radius", [1.5, 6.0, 15.0])
def test_it_is_the_published_formula_in_both_models(radius: float) -> None:
    """In 60 digits, for pairs in all directions and for pairs nearly on one ray."""
    ball, hyperboloid = EntailmentCone(PoincareBall(3)), EntailmentCone(Lorentz(3))
    x = C**0.5 * ball_points(20, dim=3, radius=radius)
    x = x[(2 * x.norm(dim=-1).atanh()) > 0.5]  # where the cone is one
    far = C**0.5 * ball_points(len(x), dim=3, radius=radius, seed=1)
    near = x + 0.3 * (1 - x.norm(dim=-1, keepdim=True)) * (x + 0.01 * far)
    for y in (far, near):
        with mpmath.workdps(60):
            expected = torch.tensor([energy(p, q, 0.1) for p, q in zip(x.tolist(), y.tolist(), strict=True)])
        torch.testing.assert_close(ball(x, y), expected.double(), rtol=1e-7, atol=1e-7)
    from isometry.manifolds import poincare_to_lorentz

    a, b = poincare_to_lorentz(x), poincare_to_lorentz(far)
    torch.testing.assert_close(hyperboloid(a, b), ball(x, far), rtol=1e-11, atol=1e-11)


def test_both_models_agree_at_any_curvature() -> None:
    x, y = ball_points(20, radius=4.0), ball_points(20, radius=4.0, seed=1)
    ball, hyperboloid = EntailmentCone(PoincareBall(4, C)), EntailmentCone(Lorentz(4, C))
    torch.testing.assert_close(hyperboloid(to_lorentz(x), to_lorentz(y)), ball(x, y), rtol=1e-11, atol=1e-11)


def test_in_flat_space_it_is_the_euclidean_cone() -> None:
    x, y = torch.randn(20, 3, dtype=torch.float64) + 1, torch.randn(20, 3, dtype=torch.float64)
    delta = y - x
    angle = ((x * delta).sum(-1) / (x.norm(dim=-1) * delta.norm(dim=-1))).acos()
    aperture = (0.1 / x.norm(dim=-1)).asin()
    torch.testing.assert_close(EntailmentCone(Euclidean(3))(x, y), (angle - aperture).relu(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("manifold", [PoincareBall(3, C), Lorentz(3, C), Euclidean(3)], ids=repr)
def test_rotations_keep_it_and_cones_are_nested(manifold: PoincareBall | Lorentz | Euclidean) -> None:
    cone, x, y = EntailmentCone(manifold), cloud(manifold, 20, spread=1.5), cloud(manifold, 20, spread=1.5, seed=3)
    rotation, _ = manifold.random_isometry(torch.Generator().manual_seed(1), torch.float64)
    g = (rotation, manifold.origin(*manifold.point_shape, dtype=torch.float64))
    torch.testing.assert_close(cone(manifold.act(g, x), manifold.act(g, y)), cone(x, y), rtol=1e-10, atol=1e-10)
    origin = manifold.origin(*manifold.point_shape, dtype=torch.float64)
    below = manifold.expmap(origin, 1.7 * manifold.logmap(origin, x))  # farther out on the ray
    assert (cone(x, below) == 0).all()
    outside = cone(x, y) > 0.01
    assert outside.any()
    assert (cone(below, y) > 0)[outside].all()  # transitive: what is below `below` is below x


def test_points_at_the_origin_and_equal_points_are_inside() -> None:
    cone = EntailmentCone(Lorentz(3))
    origin, x = Lorentz(3).origin(1, 4), Lorentz(3).random(1, 4)
    assert cone(origin, x) == cone(origin, origin) == cone(x, x) == 0
    assert math.isclose(
        float(cone(x, origin)), math.pi - float((0.2 / x[0, 1:].norm()).clamp_max(1).asin()), rel_tol=1e-5
    )


def test_bad_arguments() -> None:
    for K in (0.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="expected K > 0"):
            EntailmentCone(Lorentz(3), K)
    with pytest.raises(ValueError, match="expected a margin >= 0"):
        EntailmentLoss(margin=-1.0)


def test_the_loss_is_the_published_one() -> None:
    positive: Tensor = torch.tensor([0.0, 0.5])
    negative: Tensor = torch.tensor([0.0, 0.05, 2.0])
    expected = 0.25 + (0.1 + 0.05 + 0.0) / 3
    assert math.isclose(float(EntailmentLoss(margin=0.1)(positive, negative)), expected, rel_tol=1e-6)
