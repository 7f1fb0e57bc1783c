"""Rotations: against matrix functions in 50 digits up to the cut locus, geometry's theorems and other libraries."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.manifolds import SpecialOrthogonal
from tests.manifolds import reference_special_orthogonal as reference

SIZES = [2, 3, 4, 5]


def by_angles(n: int, angles: list[float]) -> tuple[Tensor, Tensor]:
    """A point and a tangent vector that turns random planes by the given angles, in float64."""
    m = SpecialOrthogonal(n)
    x, q = m.random(2, n, n, dtype=torch.float64).unbind(0)
    plane = torch.zeros(n, n, dtype=torch.float64)
    for j, angle in enumerate(angles):
        plane[2 * j + 1, 2 * j], plane[2 * j, 2 * j + 1] = angle, -angle
    return x, x @ q @ plane @ q.mT


# --- against the reference --------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [1e-8, 1e-3, 1.0, 2.5, math.pi - 1e-3, math.pi - 1e-6])
@pytest.mark.parametrize("n", SIZES)
def test_exp_log_and_distance(n: int, angle: float) -> None:
    m = SpecialOrthogonal(n)
    x, u = by_angles(n, [angle, 0.7 * angle][: n // 2])
    exact = reference.element(x)
    y = m.expmap(x, u)
    expected = reference.floats(exact * reference.exp(reference.algebra(exact, u)))
    assert float((y - expected).abs().max()) < 1e-15
    log = reference.log(exact.T * reference.element(y))
    scale = float(reference.norm(log))
    error = m.logmap(x, y) - reference.floats(exact * log)
    assert float(m.norm(x, error)) < 1e-14 * scale
    assert abs(m.dist(x, y).item() / scale - 1) < 1e-14


@pytest.mark.parametrize("angles", [[1.3, 1.3], [1e-9, 1e-9], [2.0, 2.0 + 1e-9], [0.0, 3.0], [math.pi - 1e-6, 1e-6]])
def test_equal_and_nearly_equal_angles(angles: list[float]) -> None:
    m = SpecialOrthogonal(5)
    x, u = by_angles(5, angles)
    y = m.expmap(x, u)
    exact = reference.element(x)
    log = reference.log(exact.T * reference.element(y))
    assert float(m.norm(x, m.logmap(x, y) - reference.floats(exact * log))) < 1e-14 * float(reference.norm(log))
    x, y = x.requires_grad_(), y.detach().requires_grad_()
    if max(angles) < 3.1:  # finite differences would cross the cut locus
        torch.autograd.gradcheck(lambda x, y: m.logmap(m.projx(x), m.projx(y)), (x, y), fast_mode=True)
        torch.autograd.gradgradcheck(lambda x, y: m.dist2(m.projx(x), m.projx(y)), (x, y), fast_mode=True)


@pytest.mark.parametrize("n", SIZES)
def test_transport(n: int) -> None:
    m = SpecialOrthogonal(n)
    x, u = by_angles(n, [2.0, 1.0][: n // 2])
    v = m.proju(x, torch.randn_like(x))
    exact = reference.element(x)
    a, b = reference.algebra(exact, u), reference.algebra(exact, v)
    expected = reference.floats(reference.transp_follow_expmap(exact, a, b))
    for moved in (m.transp_follow_expmap(x, u, v), m.transp(x, m.expmap(x, u), v)):
        assert float((moved - expected).abs().max()) < 4e-15


@pytest.mark.parametrize("n", [4, 5])
def test_two_large_angles_cost_what_their_distance_to_a_whole_turn_costs(n: int) -> None:
    """The condition of log is ``1/sin((t_1 + t_2)/2)``, up to factors of order 1."""
    m = SpecialOrthogonal(n)
    for delta in (1e-2, 1e-4, 1e-6):
        x, u = by_angles(n, [math.pi - delta, math.pi - 2 * delta])
        error = m.norm(x, m.logmap(x, m.expmap(x, u)) - u) / m.norm(x, u)
        assert float(error) < 1e-15 * 8 / delta


@pytest.mark.parametrize("n", SIZES)
def test_at_the_cut_locus_log_is_one_of_the_shortest(n: int) -> None:
    m = SpecialOrthogonal(n)
    x = m.random(n, n, dtype=torch.float64)
    turn = torch.eye(n, dtype=torch.float64)
    turn[0, 0] = turn[1, 1] = -1
    y = x @ turn
    u = m.logmap(x, y)
    assert m.norm(x, u).item() == pytest.approx(m.injectivity_radius(), rel=1e-14)
    assert float((m.expmap(x, u) - y).abs().max()) < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [4, 8, 16])
def test_signed_permutations_have_a_log(n: int, dtype: torch.dtype) -> None:
    """Their eigenvalues are roots of unity, often equal, -1 among them, often more than twice."""
    m = SpecialOrthogonal(n)
    x = torch.stack([torch.eye(n, dtype=dtype)[torch.randperm(n)] for _ in range(100)])
    x[:, 0] *= torch.linalg.det(x).unsqueeze(-1)
    origin = m.origin(*x.shape, dtype=dtype)
    assert float((m.expmap(origin, m.logmap(origin, x)) - x).abs().max()) < 32 * torch.finfo(dtype).eps


# --- theorems ---------------------------------------------------------------------------------------------------


def test_length_of_a_rotation_is_sqrt_2_times_its_angle() -> None:
    m = SpecialOrthogonal(3)
    x, u = by_angles(3, [1.2])
    assert m.dist(x, m.expmap(x, u)).item() == pytest.approx(math.sqrt(2) * 1.2, rel=1e-14)


def test_log_det_exp_is_the_product_over_roots() -> None:
    """``prod 2 sin(w/2)/w`` over the roots w of SO(5) at angles (s, t): ``s +- t`` twice, s and t twice."""
    m = SpecialOrthogonal(5)
    s, t = 1.1, 2.3
    x, u = by_angles(5, [s, t])
    expected = sum(2 * math.log(abs(math.sin(w / 2) / (w / 2))) for w in (s - t, s + t, s, t))
    assert m.log_det_exp(x, u).item() == pytest.approx(expected, rel=1e-12)


def test_projection_is_the_nearest_rotation() -> None:
    """Of a matrix of negative determinant, too: better than any other of many, and than the sign of a column."""
    m = SpecialOrthogonal(3)
    z = torch.randn(20, 3, 3, dtype=torch.float64)
    assert (torch.linalg.det(z) < 0).any()
    others = m.random(5000, 1, 3, 3, dtype=torch.float64)
    best = torch.linalg.matrix_norm(others - z).amin(0)
    assert (torch.linalg.matrix_norm(m.projx(z) - z) <= best).all()
    torch.autograd.gradcheck(m.projx, z.requires_grad_(), fast_mode=True)
    torch.autograd.gradgradcheck(m.projx, z, fast_mode=True)


def test_random_is_haar() -> None:
    """Means over SO(3) of ``tr x``, ``(tr x)^2`` and ``(tr x)^4`` are 0, 1 and 3 (its trivial representations)."""
    x = SpecialOrthogonal(3).random(200_000, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    trace = x.diagonal(dim1=-2, dim2=-1).sum(-1)
    for power, mean in ((1, 0.0), (2, 1.0), (4, 3.0)):
        values = trace**power
        assert abs(float(values.mean()) - mean) < 4 * float(values.std()) / math.sqrt(len(values))


# --- errors -----------------------------------------------------------------------------------------------------


def test_sizes() -> None:
    with pytest.raises(ValueError, match="at least two rows, but got n=1"):
        SpecialOrthogonal(1)
    assert SpecialOrthogonal(3).with_dim(10) == SpecialOrthogonal(5)
    with pytest.raises(ValueError, match=r"1, 3, 6, 10, .* dim=5.* n=3 and n=4"):
        SpecialOrthogonal(3).with_dim(5)


# --- peers ------------------------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize("n", [3, 5])
def test_scipy_agrees(n: int) -> None:
    from scipy.linalg import expm, logm

    m = SpecialOrthogonal(n)
    x, u = by_angles(n, [2.0, 1.0][: n // 2])
    a, y = (x.mT @ u).numpy(), m.expmap(x, u)
    assert np.allclose(x.numpy() @ expm(a), y, rtol=0, atol=1e-14)
    assert np.allclose(logm((x.mT @ y).numpy()), x.mT @ m.logmap(x, y), rtol=0, atol=1e-13)


@pytest.mark.peers
def test_pymanopt_agrees() -> None:
    from pymanopt.manifolds import SpecialOrthogonalGroup as Peer

    m, peer = SpecialOrthogonal(4), Peer(4)
    x, u = by_angles(4, [2.0, 1.0])
    y = m.expmap(x, u)
    a, b, tangent = x.numpy(), y.numpy(), (x.mT @ u).numpy()  # theirs is in the algebra
    assert np.allclose(peer.exp(a, tangent), b, rtol=0, atol=1e-13)
    assert np.allclose(peer.log(a, b), tangent, rtol=0, atol=1e-12)
    assert peer.dist(a, b) == pytest.approx(m.dist(x, y).item(), rel=1e-12)


@pytest.mark.peers
def test_geomstats_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # which geomstats 2.8 takes from numpy 1
    from geomstats.geometry.special_orthogonal import SpecialOrthogonal as Peer

    m, peer = SpecialOrthogonal(3), Peer(3).metric
    x, u = by_angles(3, [2.0])
    y = m.expmap(x, u)
    assert np.allclose(peer.exp(u.numpy(), x.numpy()), y, rtol=0, atol=1e-13)
    assert np.allclose(peer.log(y.numpy(), x.numpy()), u, rtol=0, atol=1e-12)
    assert 2 * peer.squared_norm(u.numpy(), x.numpy()) == pytest.approx(m.inner(x, u).item(), rel=1e-12)
