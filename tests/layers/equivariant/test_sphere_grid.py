import pytest
import torch

from isometry.layers.equivariant.sphere_grid import SphereGrid, sphere_grid
from isometry.layers.equivariant.spherical_harmonics import spherical_harmonics


def double_factorial(n: int) -> int:
    return n * double_factorial(n - 2) if n > 0 else 1


@pytest.mark.parametrize("degree", [0, 1, 4, 7, 12])
def test_it_averages_monomials_exactly_up_to_its_degree(degree: int) -> None:
    """The mean of x^2a y^2b z^2c is (2a - 1)!! (2b - 1)!! (2c - 1)!! / (2a + 2b + 2c + 1)!!, others are 0."""
    points, weights = sphere_grid(degree)
    assert (weights > 0).all()
    for powers in torch.cartesian_prod(*[torch.arange(degree + 1)] * 3).tolist():
        total = sum(powers)
        if total > degree:
            continue
        expected = 0.0
        if all(p % 2 == 0 for p in powers):
            a, b, c = (double_factorial(p - 1) for p in powers)
            expected = a * b * c / double_factorial(total + 1)
        mean = (weights * points.pow(torch.tensor(powers)).prod(-1)).sum().item()
        assert mean == pytest.approx(expected, abs=1e-15)


def test_an_odd_degree_gives_a_grid_that_is_its_own_mirror_image() -> None:
    points, _ = sphere_grid(7)
    assert torch.cdist(points, -points).amin(-1).max() < 1e-14
    assert points[:, 1].abs().max() < 0.99


def test_the_harmonics_are_orthonormal() -> None:
    points, weights = sphere_grid(10)
    y = spherical_harmonics(points, 5)
    assert torch.allclose((y.T * weights) @ y, torch.eye(36, dtype=torch.float64), rtol=0, atol=1e-14)


def test_values_and_coefficients_are_inverse() -> None:
    grid = SphereGrid(3, 3, 6).double()
    x = torch.randn(2, 5, 16, 4, dtype=torch.float64)
    assert torch.allclose(grid.coefficients(grid.values(x)), x, rtol=0, atol=1e-14)
    assert torch.equal(grid.values(x[..., :9, :]), SphereGrid(2, 3, 6).double().values(x[..., :9, :]))


def test_slopes_are_differences_of_values_along_a_right_handed_frame() -> None:
    points, _ = sphere_grid(8)
    x = torch.randn(16, 1, dtype=torch.float64)
    pole = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand_as(points)
    east = torch.nn.functional.normalize(torch.linalg.cross(pole, points), dim=-1)
    north = torch.linalg.cross(points, east)
    assert (north[:, 1] > 0).all()
    for slope, direction in zip(SphereGrid(3, 3, 8).double().slopes(x), (east, north), strict=True):
        ends = [spherical_harmonics(points + sign * 1e-4 * direction, 3) @ x for sign in (1, -1)]
        assert torch.allclose(slope, (ends[0] - ends[1]) / 2e-4, rtol=0, atol=1e-5)


def test_negative_degrees_are_refused() -> None:
    with pytest.raises(ValueError, match="expected degrees >= 0"):
        SphereGrid(2, -1, 4)
