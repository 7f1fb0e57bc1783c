"""The torus against complex numbers, and its heat kernel against mpmath's theta function."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate

from isometry.manifolds import Circle, Torus

MP = mpmath.mp.clone()
MP.dps = 300  # the theta series at t = 0.01 cancels down to exp(-493)


def distance(x: float, y: float) -> mpmath.mpf:
    """The distance of two angles, taken exactly, from the argument of a complex number."""
    return abs(MP.arg(MP.expj(MP.mpf(y)) / MP.expj(MP.mpf(x))))


def log_theta(t: float, h: float) -> mpmath.mpf:
    """``log(theta_3(h/2, exp(-t/2)) / (2 pi))``, the heat kernel of the circle at variance t."""
    return MP.log(MP.jtheta(3, MP.mpf(h) / 2, MP.exp(-MP.mpf(t) / 2)) / (2 * MP.pi))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [1e-12, 1e-6, 0.1, 3.0])
def test_distance_and_log_are_right_to_the_last_place(dtype: torch.dtype, gap: float) -> None:
    """Also across the ends, where the difference of two nearby points is near 2 pi."""
    m, eps = Circle(), torch.finfo(dtype).eps
    for start in (-math.pi + gap / 3, -1.0, 0.0, 2.0, math.pi - gap / 3):
        x = torch.tensor([start], dtype=dtype)
        y = m.expmap(x, torch.tensor([gap], dtype=dtype))
        expected = distance(x.item(), y.item())
        assert abs(m.dist(x, y).item() - expected) <= 2 * eps * expected
        assert abs(abs(m.logmap(x, y).item()) - expected) <= 2 * eps * expected


def test_exp_and_projection_are_those_of_complex_numbers() -> None:
    m = Torus(3)
    x, u = m.random(50, 3, dtype=torch.float64), 5 * torch.randn(50, 3, dtype=torch.float64)
    expected = torch.angle(torch.polar(torch.ones_like(x), x) * torch.polar(torch.ones_like(x), u))
    torch.testing.assert_close(m.expmap(x, u), expected, rtol=0, atol=1e-14)
    expected = torch.angle(torch.polar(torch.ones_like(u), u))
    torch.testing.assert_close(m.projx(u), expected, rtol=0, atol=1e-14)
    assert torch.equal(m.projx(x), x)


def test_distance_is_that_of_the_nearest_copy() -> None:
    m = Torus(2)
    x, y = m.random(2, 100, 2, dtype=torch.float64)
    shifts = 2 * math.pi * torch.cartesian_prod(*[torch.arange(-1.0, 2.0, dtype=torch.float64)] * 2)
    nearest = (y.unsqueeze(1) + shifts - x.unsqueeze(1)).norm(dim=-1).amin(1)
    torch.testing.assert_close(m.dist(x, y), nearest)


@pytest.mark.parametrize("t", [0.01, 0.5, 2.0, 6.28, 6.29, 20.0, 200.0])
def test_heat_kernel_is_theta(t: float) -> None:
    angles = torch.linspace(-math.pi, math.pi, 9, dtype=torch.float64)
    value = Circle().heat_kernel_log_prob(torch.tensor(t, dtype=torch.float64), torch.zeros(1), angles.unsqueeze(-1))
    expected = torch.tensor([float(log_theta(t, h)) for h in angles.tolist()], dtype=torch.float64)
    torch.testing.assert_close(value, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("t", [0.05, 6.0, 6.5, 30.0])
def test_derivatives_of_the_heat_kernel_are_thetas(t: float) -> None:
    h = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    time = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    value = Circle().heat_kernel_log_prob(time, torch.zeros(1, dtype=torch.float64), h)
    score, rate = torch.autograd.grad(value, (h, time))
    expected = [MP.diff(lambda a: log_theta(t, a), 2.0), MP.diff(lambda s: log_theta(s, 2.0), t)]
    assert score.item() == pytest.approx(float(expected[0]), rel=1e-12)
    assert rate.item() == pytest.approx(float(expected[1]), rel=1e-12)


@pytest.mark.parametrize("t", [0.1, 7.0])
def test_heat_kernel_has_mass_one_and_the_factors_are_independent(t: float) -> None:
    m, time, x = Torus(2), torch.tensor(t, dtype=torch.float64), torch.tensor([0.5, -3.0], dtype=torch.float64)

    def density(a: float, b: float) -> float:
        return m.heat_kernel_log_prob(time, x, torch.tensor([a, b], dtype=torch.float64)).exp().item()

    grid = np.arange(
        -math.pi, math.pi, 2 * math.pi / 64
    )  # the trapezoidal rule is exact to rounding on periodic functions
    mass = sum(density(a, b) for a in grid for b in grid) * (2 * math.pi / 64) ** 2
    assert mass == pytest.approx(1, abs=1e-12)
    single = [Circle().heat_kernel_log_prob(time, x[i : i + 1], torch.zeros(1)).item() for i in range(2)]
    assert math.log(density(0.0, 0.0)) == pytest.approx(sum(single), abs=1e-12)
    one, _ = integrate.quad(lambda a: float(MP.exp(log_theta(t, a))), -math.pi, math.pi)
    assert one == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("t", [0.2, 3.0])
def test_brownian_motion_has_the_moments_of_the_heat_kernel(t: float) -> None:
    """``E exp(i m (y - x)) = exp(-m^2 t/2)``, the kernel's Fourier coefficients."""
    count = 40_000
    x = torch.full((count, 1), 2.5, dtype=torch.float64)
    time = torch.full((count,), t, dtype=torch.float64)
    y = Circle().sample_heat_kernel(time, x, torch.Generator().manual_seed(0))
    assert float(y.abs().max()) <= math.pi
    for m in (1, 2):
        expected = math.exp(-(m**2) * t / 2)
        assert float((m * (y - x)).cos().mean()) == pytest.approx(expected, abs=4 / math.sqrt(count))
        assert float((m * (y - x)).sin().mean()) == pytest.approx(0, abs=4 / math.sqrt(count))


def test_volume_and_uniform_samples() -> None:
    m = Torus(2)
    assert m.volume() == pytest.approx(4 * math.pi**2)
    x = m.random(40_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for f in (torch.cos, torch.sin):
        assert float(f(x).mean(0).abs().max()) < 5 / math.sqrt(2 * 40_000)


def test_the_circle_is_the_torus_of_dimension_one() -> None:
    assert Circle() == Torus(1)
    assert Circle().spec == {"class_path": "isometry.manifolds.Torus", "init_args": {"dim": 1}}


def test_an_angle_beyond_pi_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Torus\(dim=2\): point residual 9.6e-01 > atol 1e-05; project with `projx`"):
        Torus(2).assert_check_point_on_manifold(torch.tensor([0.0, 4.1]))
