"""The maps between hyperbolic models against mpmath, geoopt and each model's own distance formula."""

from collections.abc import Callable

import geoopt.manifolds.lorentz.math as geoopt_lorentz
import pytest
import torch

from isometry.manifolds import (
    Lorentz,
    PoincareBall,
    halfspace_to_poincare,
    lorentz_to_poincare,
    poincare_to_halfspace,
    poincare_to_lorentz,
)
from isometry.manifolds.testing import assert_isometry
from tests.manifolds.reference import MP, ball_to_lorentz, vector

CURVATURES = [1.0, 0.37, 4.2]


def ball_points(c: float, radius: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Points at the given hyperbolic radius, in units of the curvature radius."""
    directions = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=-1)
    ball = PoincareBall(3, c=c)
    return ball.projx((directions * torch.tanh(torch.tensor(radius / 2, dtype=torch.float64)) / c**0.5).to(dtype))


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("radius", [1e-6, 1.0, 10.0, 30.0])
def test_to_lorentz_is_right_to_the_last_places_up_to_the_boundary(c: float, radius: float) -> None:
    x = ball_points(c, radius)
    for point, image in zip(x, poincare_to_lorentz(x, c), strict=True):
        expected = ball_to_lorentz(vector(point), c)
        for value, exact in zip(vector(image), expected, strict=True):
            assert abs(value - exact) <= 1e-15 * abs(exact)


@pytest.mark.parametrize("c", CURVATURES)
def test_lorentz_maps_agree_with_geoopt_at_moderate_radius(c: float) -> None:
    x, k = ball_points(c, 2.0), torch.tensor(1 / c, dtype=torch.float64)
    image = poincare_to_lorentz(x, c)
    unit = geoopt_lorentz.lorentz_to_poincare(image, k)  # in the ball of radius 1
    torch.testing.assert_close(unit, x * c**0.5, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(lorentz_to_poincare(image, c), x, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("c", CURVATURES)
def test_the_maps_to_and_from_lorentz_are_isometries(c: float) -> None:
    ball, lorentz = PoincareBall(3, c=c), Lorentz(3, c=c)
    x, y = ball_points(c, 3.0), ball_points(c, 1.0)
    assert_isometry(ball, lambda p: poincare_to_lorentz(p, c), x, y, target=lorentz, atol=1e-12)
    x, y = lorentz.random(2, 20, 4, dtype=torch.float64)
    assert_isometry(lorentz, lambda p: lorentz_to_poincare(p, c), x, y, target=ball, atol=1e-12)


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("radii", [(1.0, 0.5), (25.0, 25.0), (25.0, 1e-3)])
def test_the_map_to_the_half_space_is_an_isometry(c: float, radii: tuple[float, float]) -> None:
    """The half-space distance is ``arcosh(1 + |x - y|^2 / (2 x_n y_n)) / sqrt(c)``, here in many digits."""
    x, y = (ball_points(c, r) for r in radii)
    distances = PoincareBall(3, c=c).dist(x, y)
    images = [poincare_to_halfspace(z, c) for z in (x, y)]
    for a, b, distance in zip(*images, distances.tolist(), strict=True):
        a, b = vector(a), vector(b)
        expected = MP.acosh(1 + (a - b) @ (a - b) / (2 * a[-1] * b[-1])) / MP.sqrt(c)
        assert abs(distance - expected) <= 1e-13 * expected


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_the_half_space_maps_are_inverse(c: float, dimension: int) -> None:
    x = ball_points(c, 4.0)[:, :dimension]
    torch.testing.assert_close(halfspace_to_poincare(poincare_to_halfspace(x, c), c), x, rtol=1e-12, atol=1e-14)
    unit = torch.zeros(dimension)
    unit[-1] = 1
    torch.testing.assert_close(poincare_to_halfspace(torch.zeros(dimension), c), unit)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("far", [1e4, 1e18])
def test_points_beyond_the_ball_end_inside_it(dtype: torch.dtype, far: float) -> None:
    ball = PoincareBall(2, c=0.37)
    x = Lorentz(2, c=0.37).projx(torch.tensor([[1.0, far, -far]], dtype=dtype))
    ball.assert_check_point_on_manifold(lorentz_to_poincare(x, 0.37))
    y = torch.tensor([[far, 1 / far]], dtype=dtype)
    ball.assert_check_point_on_manifold(halfspace_to_poincare(y, 0.37))


@pytest.mark.parametrize(
    "f",
    [poincare_to_lorentz, lorentz_to_poincare, poincare_to_halfspace, halfspace_to_poincare],
    ids=lambda f: f.__name__,
)
def test_the_maps_are_differentiable_in_points_and_curvature(f: Callable[..., torch.Tensor]) -> None:
    starts = {lorentz_to_poincare: Lorentz(2).random(4, 3, dtype=torch.float64)}
    x = starts.get(f, torch.rand(4, 2, dtype=torch.float64) / 3 + 0.1).requires_grad_()
    c = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(f, (x, c))
    torch.autograd.gradgradcheck(f, (x, c))
    compiled = torch.compile(f, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, c), f(x, c))
