"""Scaling against geoopt's and against spheres and circles of another radius."""

import math

import geoopt
import mpmath
import pytest
import torch

from isometry.manifolds import (
    Euclidean,
    HeatKernelManifold,
    HomogeneousManifold,
    Lorentz,
    PoincareBall,
    Scaled,
    Sphere,
    Torus,
)


def test_agrees_with_geoopt() -> None:
    """geoopt scales the vectors and leaves the metric, so that its vectors are s times the velocities of points."""
    s = 2.0  # geoopt divides by it in float32
    ours, theirs = Scaled(PoincareBall(3), s), geoopt.Scaled(geoopt.PoincareBall(), s)
    x, y, z = torch.rand(3, 6, 3, dtype=torch.float64) / 3  # near the centre, where geoopt has all its digits
    u, v = ours.logmap(x, y), ours.logmap(x, z)
    for value, expected in [
        (ours.dist(x, y), theirs.dist(x, y)),
        (ours.dist2(x, y), theirs.dist2(x, y)),
        (ours.inner(x, u, v, keepdim=True), theirs.inner(x, s * u, s * v, keepdim=True)),
        (ours.transp(x, y, v), theirs.transp(x, y, v)),
        (ours.expmap(x, u), theirs.expmap(x, s * u)),
        (s * ours.logmap(x, y), theirs.logmap(x, y)),
    ]:
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


def test_a_scaled_hyperbolic_space_is_the_one_of_another_curvature() -> None:
    """``Lorentz(c)`` is ``Lorentz(1)`` with its points divided, and its distances multiplied, by ``sqrt(c)``."""
    c = 0.37
    unit, other = Scaled(Lorentz(3), c**-0.5), Lorentz(3, c=c)
    x, y = (unit.random(6, 4, dtype=torch.float64) for _ in range(2))
    torch.testing.assert_close(unit.dist(x, y), other.dist(x / c**0.5, y / c**0.5), rtol=1e-13, atol=0)
    u = unit.logmap(x, y)
    torch.testing.assert_close(unit.log_det_exp(x, u), other.log_det_exp(x / c**0.5, u / c**0.5), rtol=1e-12, atol=0)


def test_great_circle_distance_on_the_earth() -> None:
    """From Paris to New York with the radius 6371 km, by the arc cosine in 50 digits."""
    places = torch.deg2rad(torch.tensor([[48.8566, 2.3522], [40.7128, -74.0060]], dtype=torch.float64))
    latitude, longitude = places.unbind(-1)
    x = torch.stack([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()], -1)
    with mpmath.workdps(50):
        (a, b), (c, d) = [[mpmath.mpf(v) for v in place] for place in places.tolist()]
        expected = 6371 * mpmath.acos(mpmath.sin(a) * mpmath.sin(c) + mpmath.cos(a) * mpmath.cos(c) * mpmath.cos(b - d))
    assert Scaled(Sphere(2), 6371.0).dist(x[0], x[1]).item() == pytest.approx(float(expected), rel=1e-14)


def test_frame_at_the_origin_is_orthonormal() -> None:
    m = Scaled(Sphere(2), 3.0)
    z = torch.randn(5, 2, dtype=torch.float64)
    u = m.origin_vector(z)
    torch.testing.assert_close(m.norm(m.origin(5, 3, dtype=torch.float64), u), z.norm(dim=-1))
    torch.testing.assert_close(m.origin_coordinates(u), z)


@pytest.mark.parametrize("t", [0.3, 40.0])
def test_heat_kernel_of_a_circle_of_radius_r(t: float) -> None:
    """A normal of variance t on the line, wrapped around the circumference ``2 pi r``, with respect to arc length."""
    r, h = 2.0, 1.3
    expected = mpmath.nsum(
        lambda k: mpmath.npdf(r * h + 2 * mpmath.pi * r * k, 0, mpmath.sqrt(t)), [-mpmath.inf, mpmath.inf]
    )
    m, time = Scaled(Torus(1), r), torch.tensor(t, dtype=torch.float64)
    value = m.heat_kernel_log_prob(time, torch.zeros(1), torch.tensor([h], dtype=torch.float64))
    assert value.item() == pytest.approx(float(mpmath.log(expected)), rel=1e-12)
    assert m.volume() == pytest.approx(2 * math.pi * r)
    assert m.injectivity_radius() == pytest.approx(math.pi * r)


def test_brownian_motion_keeps_its_speed() -> None:
    m, count = Scaled(Euclidean(2), 5.0), 40_000
    x, t = torch.zeros(count, 2, dtype=torch.float64), torch.full((count,), 0.7, dtype=torch.float64)
    d2 = m.dist2(x, m.sample_heat_kernel(t, x, torch.Generator().manual_seed(0)))
    assert float(d2.mean()) == pytest.approx(2 * 0.7, rel=5 / math.sqrt(count))  # E chi^2_2 = 2


def test_capabilities_are_the_manifolds() -> None:
    assert Scaled(Torus(1), 2.0).supports(HeatKernelManifold)
    assert Scaled(Sphere(1), 2.0).supports(HomogeneousManifold)
    assert not Scaled(Lorentz(2), 2.0).supports(HeatKernelManifold)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_scale_that_is_not_positive_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="Scaled: expected a positive scale"):
        Scaled(Sphere(2), scale)
