"""What is particular to the affine-invariant metric."""

import pytest
import torch

from isometry.manifolds import SPDAffineInvariant
from isometry.manifolds.frechet import frechet_mean
from isometry.manifolds.testing import assert_isometry
from tests.manifolds.spd_cases import pair, spd

M = SPDAffineInvariant(4)


def test_invariance_under_every_congruence_and_inversion() -> None:
    x, y = M.random(2, 10, 4, 4, dtype=torch.float64)
    g = torch.randn(4, 4, dtype=torch.float64)
    assert_isometry(M, lambda p: M.act(g, p), x, y, atol=1e-12)
    assert_isometry(M, torch.linalg.inv, x, y, atol=1e-12)


def test_it_is_complete() -> None:
    """A unit-speed ray leads as far as the format has numbers, and no further argument of exp is outside."""
    u = torch.diag(torch.tensor([1.0, -1.0, 0.0, 0.0], dtype=torch.float64)) / 2**0.5
    x = M.origin(4, 4, dtype=torch.float64)
    for t in (1.0, 10.0, 100.0):
        assert float(M.dist(x, M.expmap(x, t * u))) == pytest.approx(t, rel=1e-12)


def test_the_retraction_is_positive_definite_for_every_step() -> None:
    x = M.random(200, 4, 4, dtype=torch.float64)
    u = 100 * M.proju(x, torch.randn_like(x))
    assert (torch.linalg.eigvalsh(M.retr(x, u)) > 0).all()
    eigenvalues = torch.linalg.eigvalsh(torch.linalg.solve(x, M.retr(x, -x)).mT.contiguous())
    torch.testing.assert_close(eigenvalues, torch.full_like(eigenvalues, 0.5))  # 1 + v + v^2/2 at v = -1


def test_the_determinant_is_a_totally_geodesic_direction() -> None:
    """log det grows linearly along geodesics: ``log det c(t) = (1 - t) log det x + t log det y``."""
    x, y = M.random(2, 4, 4, dtype=torch.float64)
    t = torch.linspace(-1, 2, 7, dtype=torch.float64)
    expected = (1 - t) * torch.logdet(x) + t * torch.logdet(y)
    torch.testing.assert_close(torch.logdet(M.geodesic(t, x, y)), expected)


def test_the_mean_of_two_points_is_their_geometric_mean() -> None:
    x, y = M.random(2, 4, 4, dtype=torch.float64)
    mean = M.frechet_mean(torch.stack([x, y]))
    torch.testing.assert_close(mean @ torch.linalg.solve(x, mean), y)  # m x^-1 m = y (Ando 1978)
    torch.testing.assert_close(frechet_mean(M, torch.stack([x, y])), mean)


def test_sectional_curvature_is_minus_a_quarter_of_the_commutators_norm() -> None:
    """``K(u, v) = -|[u, v]|^2 / 4`` for orthonormal u, v at I, read off a small triangle.

    ``d^2(exp u, exp v) = |u - v|^2 - K |u ^ v|^2 / 3 + ...`` (do Carmo 1992, chapter 5, proposition 2.7).
    """
    eye = M.origin(4, 4, dtype=torch.float64)
    u, v = M.origin_vector(torch.linalg.qr(torch.randn(10, 2, dtype=torch.float64)).Q.mT)
    commutator = u @ v - v @ u
    h = 1e-3
    excess = M.dist2(M.expmap(eye, h * u), M.expmap(eye, h * v)) - 2 * h**2
    curvature = -3 * excess / h**4
    assert float(curvature) == pytest.approx(float(-commutator.square().sum() / 4), rel=1e-3)


@pytest.mark.parametrize("separation", [1e-6, None])
def test_the_distance_without_derivatives_is_the_one_with_them(separation: float | None) -> None:
    x, y = (torch.stack(z) for z in zip(*[pair(1e4, separation, seed) for seed in range(6)], strict=True))
    m = SPDAffineInvariant(5)
    recorded = m.dist(x.clone().requires_grad_(), y).detach()
    torch.testing.assert_close(m.dist(x, y), recorded, rtol=1e-12, atol=0)


def test_the_jacobian_of_exp_is_finite_with_its_gradient_at_equal_eigenvalues() -> None:
    x = M.origin(4, 4, dtype=torch.float64)
    u = torch.eye(4, dtype=torch.float64).requires_grad_()
    value = M.log_det_exp(x, u)
    assert value == 0
    assert not torch.autograd.grad(value, u)[0].any()
    v = torch.diag(torch.tensor([1.0, 1.0, -2.0, 0.5], dtype=torch.float64)).requires_grad_()
    torch.autograd.gradcheck(lambda v: M.log_det_exp(spd(10.0, 0, 4), v + v.mT), (v,))
