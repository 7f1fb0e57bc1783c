"""SU(n): against matrix functions in 50 digits, the choice of the branch, SU(2) as a sphere, complex autograd."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.manifolds import RealView, SpecialOrthogonal, SpecialUnitary, Sphere
from isometry.trainers.optim import RiemannianAdam
from tests.manifolds import reference_special_orthogonal as reference


def by_angles(angles: list[float]) -> tuple[Tensor, Tensor]:
    """A point and the tangent vector with these eigenvalue angles of sum 0, in complex128."""
    n = len(angles)
    m = SpecialUnitary(n)
    x, q = m.random(2, n, n, dtype=torch.complex128).unbind(0)
    return x, x @ q @ torch.diag(1j * torch.tensor(angles, dtype=torch.float64)) @ q.mH


@pytest.mark.parametrize("angles", [[1e-8, -1e-8], [1.0, 0.5, -1.5], [2.0, 2.0, -1.0, -3.0], [3.1, -3.1]])
def test_exp_log_and_transport_against_the_reference(angles: list[float]) -> None:
    x, u = by_angles(angles)
    m = SpecialUnitary(len(angles))
    v = m.proju(x, torch.randn_like(x))
    exact, y = reference.element(x), m.expmap(x, u)
    a, b = reference.algebra(exact, u), reference.algebra(exact, v)
    assert float((y - reference.floats(exact * reference.exp(a), x.dtype)).abs().max()) < 1e-15
    log = reference.log(exact.H * reference.element(y))
    error = m.norm(x, m.logmap(x, y) - reference.floats(exact * log, x.dtype))
    assert float(error) < 1e-14 * float(reference.norm(log))
    moved = reference.floats(reference.transp_follow_expmap(exact, a, b), x.dtype)
    assert float((m.transp_follow_expmap(x, u, v) - moved).abs().max()) < 4e-15


@pytest.mark.parametrize("angles", [[3.5, -1.5, -2.0], [3.6, 0.5, -2.2, -1.9], [1.0, 2.3, -3.3]])
def test_log_has_trace_zero_where_the_principal_one_has_not(angles: list[float]) -> None:
    """All angles differ by less than ``2 pi``, so the geodesic is the shortest, though one angle is beyond pi."""
    x, u = by_angles(angles)
    m = SpecialUnitary(len(angles))
    y = m.expmap(x, u)
    assert float(m.norm(x, m.logmap(x, y) - u)) < 1e-13
    principal = reference.log(reference.element(x).H * reference.element(y))
    assert abs(reference.norm(principal) - float(m.norm(x, u))) > 0.1


def test_su2_is_the_sphere_of_radius_sqrt_2() -> None:
    """``(z, w) -> (Re z, Im z, Re w, Im w)`` of the first row."""
    m, sphere = SpecialUnitary(2), Sphere(3)
    x, y = m.random(2, 50, 2, 2, dtype=torch.complex128).unbind(0)
    a, b = (torch.view_as_real(z[:, 0]).flatten(1) for z in (x, y))
    torch.testing.assert_close(m.dist(x, y), math.sqrt(2) * sphere.dist(a, b), rtol=1e-13, atol=0)


def test_real_matrices_are_a_totally_geodesic_so_n() -> None:
    m, real = SpecialUnitary(4), SpecialOrthogonal(4)
    x = real.random(20, 4, 4, dtype=torch.float64)
    u = real.proju(x, torch.randn_like(x))
    u = 2 / real.norm(x, u, keepdim=True) * u
    torch.testing.assert_close(m.expmap(x + 0j, u + 0j), real.expmap(x, u) + 0j, rtol=0, atol=1e-14)
    torch.testing.assert_close(m.logmap(x + 0j, m.expmap(x + 0j, u + 0j)), u + 0j, rtol=0, atol=1e-13)


def test_projection_is_a_point_and_keeps_points() -> None:
    m = SpecialUnitary(3)
    z = torch.randn(20, 3, 3, dtype=torch.complex128)
    assert float(m.point_residual(m.projx(z)).max()) < 1e-14
    torch.testing.assert_close(m.projx(m.projx(z)), m.projx(z), rtol=0, atol=1e-14)
    torch.autograd.gradcheck(m.projx, z[:2].requires_grad_(), fast_mode=True)


def test_complex_autograd() -> None:
    m = SpecialUnitary(3)
    x, u = by_angles([1.0, 0.5, -1.5])
    x, y = x.requires_grad_(), m.expmap(x, u).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(m.dist2(x, y), x)
    torch.testing.assert_close(m.egrad2rgrad(x, gradient), -2 * m.logmap(x, y), rtol=0, atol=1e-13)
    torch.autograd.gradcheck(lambda x, y: m.dist2(m.projx(x), m.projx(y)), (x, y), fast_mode=True)
    torch.autograd.gradgradcheck(lambda x, y: m.dist2(m.projx(x), m.projx(y)), (x, y), fast_mode=True)


def test_formats() -> None:
    m = SpecialUnitary(2)
    assert m.origin(2, 2).dtype == m.random(2, 2).dtype == torch.complex64
    assert m.random(2, 2, dtype=torch.float64).dtype == torch.complex128
    x, y = m.random(2, 3, 2, 2).unbind(0)
    assert m.dist(x, y).dtype == m.inner(x, x).dtype == torch.float32
    assert m.logmap(x, y).dtype == torch.complex64


def test_optimizer_steps_complex_points() -> None:
    m = SpecialUnitary(3)
    points = [torch.nn.Parameter(m.random(3, 3, dtype=torch.complex128)) for _ in range(4)]
    target = m.random(3, 3, dtype=torch.complex128)
    optimizer = RiemannianAdam([{"params": points, "manifold": m}], lr=0.05)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = torch.stack([m.dist2(x, target) for x in points]).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-2 * losses[0]
    assert max(float(m.point_residual(x.detach())) for x in points) < 1e-13


def test_mean_of_complex_points() -> None:
    m = SpecialUnitary(2)
    x, u = by_angles([0.5, -0.5])
    mean = m.frechet_mean(torch.stack([m.expmap(x, u), m.expmap(x, -u)]))
    torch.testing.assert_close(mean, x, rtol=0, atol=1e-14)


def test_sizes() -> None:
    assert SpecialUnitary(2).with_dim(8) == SpecialUnitary(3)
    with pytest.raises(ValueError, match=r"3, 8, 15, .* dim=5.* n=2 and n=3"):
        SpecialUnitary(2).with_dim(5)


def test_real_view_has_the_same_points() -> None:
    m = SpecialUnitary(2)
    view = RealView(m)
    x, y = m.random(2, 5, 2, 2, dtype=torch.complex128).unbind(0)
    real_x, real_y = torch.view_as_real(x), torch.view_as_real(y)
    torch.testing.assert_close(view.dist(real_x, real_y), m.dist(x, y))
    torch.testing.assert_close(view.logmap(real_x, real_y), torch.view_as_real(m.logmap(x, y)))
    torch.testing.assert_close(view.complex(real_x), x)
    with pytest.raises(ValueError, match="expected a manifold of complex points, but those of Sphere"):
        RealView(Sphere(2))


@pytest.mark.peers
def test_pymanopt_agrees() -> None:
    """On U(n), of which SU(n) is a totally geodesic part."""
    from pymanopt.manifolds import UnitaryGroup as Peer

    m, peer = SpecialUnitary(3), Peer(3)
    x, u = by_angles([1.0, 0.5, -1.5])
    y = m.expmap(x, u)
    a, b, tangent = x.numpy(), y.numpy(), (x.mH @ u).numpy()  # theirs is in the algebra
    assert np.allclose(peer.exp(a, tangent), b, rtol=0, atol=1e-13)
    assert np.allclose(peer.log(a, b), tangent, rtol=0, atol=1e-12)
    assert peer.dist(a, b) == pytest.approx(m.dist(x, y).item(), rel=1e-12)
