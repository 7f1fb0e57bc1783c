"""The Bures-Wasserstein geometry against 80 digits, the connection of its metric, and at the edge of its domain."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import jacfwd, jvp

from isometry.manifolds import Checked, OffManifoldError, SPDBuresWasserstein, frechet_mean
from isometry.manifolds._lyapunov_root import lyapunov_root
from isometry.manifolds.testing import assert_isometry, assert_small
from tests.manifolds.reference_spd import MP, BuresWasserstein, matrix, size, sqrt
from tests.manifolds.spd_cases import N, pair, spd

M, M_2, REFERENCE = SPDBuresWasserstein(N), SPDBuresWasserstein(2), BuresWasserstein()
EPS = torch.finfo(torch.float64).eps
PAIRS = [(cond, separation) for cond in (10.0, 1e4, 1e8) for separation in (1e-9, 1e-6, 1e-2, 1.0, None)]
on_pairs = pytest.mark.parametrize(("cond", "separation"), PAIRS)


def relative(x: Tensor, expected: object) -> float:
    return float(size(matrix(x) - expected) / size(expected))


def symmetric(*size: int, seed: int = 0) -> Tensor:
    z = torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (z + z.mT) / 2


# --- numbers -------------------------------------------------------------------------------------------------------


@on_pairs
def test_distance(cond: float, separation: float | None) -> None:
    for seed in range(4):
        x, y = pair(cond, separation, seed)
        expected = REFERENCE.dist(matrix(x), matrix(y))
        for p, q in [(x, y), (y, x), (x.clone().requires_grad_(), y)]:
            assert abs(float(M.dist(p, q).detach()) - expected) <= 1e-12 * expected


@on_pairs
def test_gradient_of_the_distance(cond: float, separation: float | None) -> None:
    """``(1 - T) / (2 d)`` with T = x^-1/2 (x^1/2 y x^1/2)^1/2 x^-1/2, to eps times the condition number."""
    for seed in range(4):
        x, y = (z.requires_grad_() for z in pair(cond, separation, seed))
        gradients = torch.autograd.grad(M.dist(x, y), (x, y))
        for p, q, gradient in [(x, y, gradients[0]), (y, x, gradients[1])]:
            a, b = matrix(p.detach()), matrix(q.detach())
            root = sqrt(a)
            t = root**-1 * sqrt(root * b * root) * root**-1
            expected = (MP.eye(N) - t) / (2 * REFERENCE.dist(a, b))
            assert relative(gradient, expected) <= 200 * cond * EPS


def test_the_stated_gradient_is_the_difference_quotient() -> None:
    x, y = (matrix(z) for z in pair(10.0, None, seed=0))
    root = sqrt(x)
    t = root**-1 * sqrt(root * y * root) * root**-1
    assert size((MP.eye(N) - t) / (2 * REFERENCE.dist(x, y)) - REFERENCE.dist_egrad(x, y)) < MP.mpf(10) ** -30


@on_pairs
def test_log(cond: float, separation: float | None) -> None:
    for seed in range(2):
        x, y = pair(cond, separation, seed)
        exact = [matrix(x), matrix(y)]
        error = REFERENCE.norm(exact[0], matrix(M.logmap(x, y)) - REFERENCE.logmap(*exact))
        assert error <= 200 * cond * EPS * REFERENCE.dist(*exact)


@pytest.mark.parametrize("cond", [10.0, 1e4])
def test_exp_and_inner(cond: float) -> None:
    x, y = pair(cond, None, seed=6)
    u, v = 0.3 * M.logmap(x, y), symmetric(N, N)
    exact = [matrix(z) for z in (x, u, v)]
    assert relative(M.expmap(x, u), REFERENCE.expmap(exact[0], exact[1])) <= 16 * cond * EPS
    expected = REFERENCE.inner(*exact)
    scale = REFERENCE.norm(exact[0], exact[1]) * REFERENCE.norm(exact[0], exact[2])
    assert abs(float(M.inner(x, u, v)) - expected) <= 16 * cond * EPS * scale


@pytest.mark.parametrize("ratio", [1e-12, 1e-6, 1e6, 1e12])
def test_pairs_of_very_different_scale(ratio: float) -> None:
    x, y = pair(1e4, None, seed=0)
    for p, q in [(x, ratio * y), (x.clone().requires_grad_(), ratio * y)]:
        expected = REFERENCE.dist(matrix(p.detach()), matrix(q))
        assert abs(float(M.dist(p, q).detach()) - expected) <= 1e-14 * expected


@pytest.mark.parametrize("separation", [1e-3, 1.0, None])
def test_float32_is_right_to_its_last_place(separation: float | None) -> None:
    for seed in range(4):
        x, y = (z.float() for z in pair(1e3, separation, seed))
        expected = REFERENCE.dist(matrix(x), matrix(y))
        for p in (x, x.clone().requires_grad_()):
            assert abs(float(M.dist(p, y).detach()) - expected) <= 1e-7 * expected


def test_commuting_matrices_are_the_squares_of_a_euclidean_space() -> None:
    """Between diagonal matrices ``d = |sqrt a - sqrt b|``, and ``sqrt a`` moves along straight lines."""
    m = SPDBuresWasserstein(4)
    a, b = torch.rand(2, 10, 4, dtype=torch.float64) + 0.1
    x, y = a.square().diag_embed(), b.square().diag_embed()
    torch.testing.assert_close(m.dist(x, y), (a - b).norm(dim=-1))
    t = torch.linspace(0, 1, 5, dtype=torch.float64).unsqueeze(-1)
    line = (1 - t.unsqueeze(-1)) * a + t.unsqueeze(-1) * b
    torch.testing.assert_close(m.geodesic(t, x, y), line.square().diag_embed())


def test_invariance_under_rotations() -> None:
    g, _ = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64))
    x, y = M.random(2, 10, N, N, dtype=torch.float64)
    assert_isometry(M, lambda p: g @ p @ g.mT, x, y, atol=1e-13)


@pytest.mark.parametrize("values", [[1.0] * N, [1.0, 1.0, 2.0, 2.0, 3.0], [1e-4, 1e-2, 1.0, 1.0, 1.0]])
def test_coincident_points(values: list[float]) -> None:
    """The distance and its gradient are exactly 0, and the Hessian of its square is twice the metric."""
    basis, _ = torch.linalg.qr(torch.randn(N, N, dtype=torch.float64))
    x = (basis * torch.tensor(values, dtype=torch.float64)) @ basis.mT
    x, u = ((x + x.mT) / 2).requires_grad_(), symmetric(N, N)
    y = x.detach().clone()
    for f in (M.dist(x, y), M.dist2(x, y), M.dist(y, y)):
        assert f == 0
    for f in (M.dist(x, y), M.dist2(x, y)):
        assert not torch.autograd.grad(f, x)[0].any()
    (gradient,) = torch.autograd.grad(M.dist2(x, y), x, create_graph=True)
    (second,) = torch.autograd.grad((gradient * u).sum(), x)
    expected = 2 * REFERENCE.inner(matrix(y), matrix(u), matrix(u))
    assert abs(float((second * u).sum()) - expected) <= 1e-13 * expected / min(values)


# --- the edge of the domain ----------------------------------------------------------------------------------------


def test_geodesics_end_where_the_margin_says() -> None:
    x = M.random(20, N, N, dtype=torch.float64)
    u = symmetric(20, N, N)
    life = 1 / (1 - M.domain_margin(x, u))  # the time at which the least eigenvalue of 1 + t L is 0
    assert (life > 0).all()
    for t, ended in [(0.999, False), (1.001, True)]:
        y = M.expmap(x, t * life[:, None, None] * u)
        assert y.isnan().flatten(1).all(1).tolist() == [ended] * 20
        assert y.isnan().flatten(1).any(1).tolist() == [ended] * 20
        if not ended:
            assert (torch.linalg.eigvalsh(y) > 0).all()
            torch.testing.assert_close(M.logmap(x, y), t * life[:, None, None] * u, rtol=1e-9, atol=1e-9)


def test_no_unit_ball_is_left_by_steps_shorter_than_the_root_of_the_least_eigenvalue() -> None:
    """The distance from ``x`` to the singular matrices is ``sqrt(x_min)``."""
    x = M.random(50, N, N, dtype=torch.float64)
    least = torch.linalg.eigvalsh(x)[..., 0].sqrt()
    u = symmetric(50, N, N)
    u = (0.999 * least / M.norm(x, u))[:, None, None] * u
    assert (M.domain_margin(x, u) > 0).all()
    values, vectors = torch.linalg.eigh(x)
    v = -values[:, :1, None] * vectors[..., :1] @ vectors[..., :1].mT  # towards the nearest singular matrix
    torch.testing.assert_close(M.norm(x, 2 * v), least)
    assert_small(M.domain_margin(x, 2 * v), 1e-13, "margin at the boundary")


def test_checked_reports_a_step_beyond_the_end() -> None:
    m, x = Checked(SPDBuresWasserstein(2)), torch.eye(2)
    m.expmap(x, -1.9 * x)
    with pytest.raises(OffManifoldError, match=re.escape("expmap: result: 4 of 4 numbers are NaN")):
        m.expmap(x, -2.1 * x)


def test_the_retraction_is_inside_for_every_step_and_of_third_order() -> None:
    x = M.random(200, N, N, dtype=torch.float64)
    u = symmetric(200, N, N)
    for length in (0.1, 1.0, 10.0, 1000.0):
        y = M.retr(x, length * u)
        assert (torch.linalg.eigvalsh(y) > 0).all()
    errors = [(M.retr(x, h * u) - M.expmap(x, h * u)).norm() for h in (0.02, 0.01)]
    assert float(errors[0] / errors[1]) == pytest.approx(2**4, rel=1e-5)
    least = M.retr(torch.ones(1, 1, dtype=torch.float64), -2 * torch.tensor([[0.7709]], dtype=torch.float64))
    assert float(least) == pytest.approx(0.1407, abs=1e-4)  # the minimum of (1 + l)^2 + l^4 / 4


def test_geodesics_stop_beyond_their_ends() -> None:
    x, y = 4 * torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(M_2.geodesic(1.9, x, y), 0.01 * y)
    assert M_2.geodesic(2.1, x, y).isnan().all()


@pytest.mark.parametrize("bad", [-torch.eye(N), torch.full((N, N), math.nan), torch.eye(N) - 2 * torch.ones(N, N)])
def test_what_is_not_positive_definite_gives_nan_and_harms_no_other(bad: Tensor) -> None:
    good = M.random(N, N, dtype=torch.float64)
    x = torch.stack([good, bad.double(), good]).requires_grad_()
    y = M.random(3, N, N, dtype=torch.float64)
    for value in (M.dist(x.detach(), y), M.dist(x, y), M.dist(y, x)):
        assert value.isnan().tolist() == [False, True, False]
    for result in (M.logmap(x, y), M.geodesic(0.5, x, y)):
        assert result.isnan().flatten(1).all(1).tolist() == [False, True, False]
        assert result[0].isfinite().all()


# --- transport -----------------------------------------------------------------------------------------------------


def koszul_transport(m: SPDBuresWasserstein, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """The transport of ``v`` by the equation ``dv/dt + Gamma(dx/dt, v) = 0``, Gamma from derivatives of ``inner``."""
    rows, columns = torch.tril_indices(m.n, m.n)
    basis = torch.zeros(len(rows), m.n, m.n, dtype=torch.float64)
    for frame, i, j in zip(basis, rows, columns, strict=True):
        frame[i, j] = frame[j, i] = 1

    def gram(z: Tensor) -> Tensor:
        p = torch.tensordot(z, basis, 1)
        return m.inner(p, basis.unsqueeze(1), basis.unsqueeze(0))

    def christoffel(z: Tensor) -> Tensor:
        slope = jacfwd(gram)(z)  # [a, b, derivative]
        lowered = (slope.permute(2, 0, 1) + slope.permute(0, 2, 1) - slope) / 2  # Gamma_(abc) with a first
        return torch.linalg.solve(gram(z), lowered.permute(2, 0, 1).reshape(len(z), -1)).reshape(lowered.shape)

    def rate(t: float, value: np.ndarray) -> np.ndarray:
        time = torch.tensor(t, dtype=torch.float64)
        p, velocity = jvp(lambda s: m.geodesic(s, x, y), (time,), (torch.ones_like(time),))
        z, w = p[rows, columns], velocity[rows, columns]
        return -torch.einsum("cab,a,b->c", christoffel(z), w, torch.from_numpy(value)).numpy()

    end = solve_ivp(rate, (0, 1), v[rows, columns].numpy(), method="DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    return torch.tensordot(torch.from_numpy(end), basis, 1)


def test_transport_is_that_of_the_levi_civita_connection() -> None:
    x, y = pair(4.0, None, seed=3, n=2)
    v = symmetric(2, 2)
    torch.testing.assert_close(M_2.transp(x, y, v), koszul_transport(M_2, x, y, v), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("spread", "bound"), [(1.5, 1e-13), (16.0, 1e-12), (100.0, 1e-11), (1e4, 1e-8)])
def test_transport_over_long_geodesics(spread: float, bound: float) -> None:
    """Isometric, and the same in two stages, where the eigenvalues of T have the given ratio."""
    x, t = spd(10.0, 1), spd(spread, 2)
    y, v = t @ x @ t, symmetric(6, N, N)
    v = v / M.norm(x, v)[:, None, None]
    moved, middle = M.transp(x, y, v), M.geodesic(0.5, x, y)
    assert_small(M.norm(y, moved) - 1, bound, "length of the transported vector")
    assert_small(M.norm(y, M.transp(middle, y, M.transp(x, middle, v)) - moved), bound, "transport in two stages")


@pytest.mark.parametrize(("cond", "bound"), [(10.0, 1e-14), (1e4, 1e-12)])
def test_transport_to_and_from_the_identity_is_closed(cond: float, bound: float) -> None:
    x, eye, v = spd(cond, 5), torch.eye(N, dtype=torch.float64), symmetric(6, N, N)
    v = v / M.norm(x, v)[:, None, None]
    there = M.transp_to_origin(x, v)
    assert_small(M.norm(eye, there) - 1, bound, "length at the identity")
    assert_small(M.norm(eye, M.transp(x, eye, v) - there), bound, "transport to the identity")
    assert_small(M.norm(x, M.transp_from_origin(x, there) - v), 10 * bound, "there and back")


def test_transport_between_commuting_matrices() -> None:
    """``v_ij sqrt((b_i + b_j) / (a_i + a_j))`` in the common eigenbasis."""
    a, b = torch.rand(2, N, dtype=torch.float64) + 0.1
    v = symmetric(N, N)
    ratio = ((b.unsqueeze(-1) + b) / (a.unsqueeze(-1) + a)).sqrt()
    torch.testing.assert_close(M.transp(a.diag(), b.diag(), v), ratio * v, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("x", [spd(10.0, 0, n=3), torch.eye(3, dtype=torch.float64)], ids=["generic", "identity"])
def test_derivatives_of_the_closed_transports(x: Tensor) -> None:
    v = torch.randn(3, 3, dtype=torch.float64).requires_grad_()
    inputs = (x.clone().requires_grad_(), v)
    gradcheck(lambda x, v: lyapunov_root((x + x.mT) / 2, v), inputs)
    gradgradcheck(lambda x, v: lyapunov_root((x + x.mT) / 2, v), inputs)
    m = SPDBuresWasserstein(3)
    gradcheck(lambda x, v: m.transp_to_origin(x, v), inputs)


def test_transport_of_a_batch_along_one_geodesic() -> None:
    x, y = pair(10.0, None, seed=1)
    v = symmetric(2, 4, N, N)
    each = torch.stack([M.transp(x, y, w) for w in v.flatten(0, 1)]).reshape(v.shape)
    torch.testing.assert_close(M.transp(x, y, v), each, rtol=1e-13, atol=1e-13)


# --- the mean ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cond", [10.0, 1e4, 1e8])
def test_mean_is_the_fixed_point(cond: float) -> None:
    """``mu = sum_i w_i (mu^1/2 x_i mu^1/2)^1/2`` (Agueh & Carlier 2011)."""
    x = torch.stack([spd(cond, seed) for seed in range(8)])
    w = torch.rand(8, dtype=torch.float64) + 0.1
    mean = M.frechet_mean(x, w)
    root = sqrt(matrix(mean))
    total = sum((float(a) * sqrt(root * matrix(p) * root) for a, p in zip(w / w.sum(), x, strict=True)), MP.zeros(N))
    assert relative(mean, total) <= 1e-14 * cond**0.5


def test_mean_and_its_derivatives_are_those_of_the_general_method() -> None:
    m = SPDBuresWasserstein(3)
    x, w = m.random(2, 4, 3, 3, dtype=torch.float64).requires_grad_(), torch.rand(2, 4, dtype=torch.float64) + 0.1
    ours, general = m.frechet_mean(x, w), frechet_mean(m, x, w)
    torch.testing.assert_close(ours, general, rtol=1e-13, atol=1e-13)
    gradients = [torch.autograd.grad(mean.sin().sum(), x, create_graph=True)[0] for mean in (ours, general)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    seconds = [torch.autograd.grad(g.cos().sum(), x)[0] for g in gradients]
    torch.testing.assert_close(*seconds, rtol=1e-11, atol=1e-11)


def test_mean_of_gaussians_in_one_dimension() -> None:
    m = SPDBuresWasserstein(1)
    x = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64).reshape(3, 1, 1)
    assert float(m.frechet_mean(x)) == pytest.approx(4.0, rel=1e-15)  # the square of the mean root


@pytest.mark.slow
def test_mean_compiles_as_one_graph() -> None:
    m = SPDBuresWasserstein(3)
    x = m.random(4, 3, 3, dtype=torch.float64).requires_grad_()
    results = []
    for f in (m.frechet_mean, torch.compile(m.frechet_mean, backend="aot_eager", fullgraph=True)):
        mean = f(x)
        results.append((mean, torch.autograd.grad(mean.sin().sum(), x)[0]))
    torch.testing.assert_close(*results, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", [(N, N), (2, 0, N, N)])
def test_mean_of_no_points_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="frechet_mean: expected points"):
        M.frechet_mean(torch.ones(shape))


# --- peers ---------------------------------------------------------------------------------------------------------


@pytest.mark.peers
def test_agrees_with_geomstats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # which geomstats 2.8 takes from numpy 1
    from geomstats.geometry.spd_matrices import SPDBuresWassersteinMetric, SPDMatrices

    metric = SPDBuresWassersteinMetric(SPDMatrices(N, equip=False))
    x, y = pair(10.0, None, seed=0)
    u, v = symmetric(2, N, N)
    a, b, du, dv = (z.numpy() for z in (x, y, u, v))
    for ours, theirs in [
        (M.dist(x, y), metric.dist(a, b)),
        (M.inner(x, u, v), metric.inner_product(du, dv, a)),
        (M.logmap(x, y), metric.log(b, a)),
        (M.expmap(x, 0.1 * u), metric.exp(0.1 * du, a)),
    ]:
        torch.testing.assert_close(ours, torch.as_tensor(theirs), rtol=1e-11, atol=1e-11)
    theirs = metric.parallel_transport(dv, a, direction=metric.log(b, a), n_steps=200)
    torch.testing.assert_close(M.transp(x, y, v), torch.as_tensor(theirs), rtol=1e-6, atol=1e-6)


@pytest.mark.peers
@pytest.mark.parametrize("cond", [10.0, 1e4])
def test_mean_is_pyriemanns(cond: float) -> None:
    from pyriemann.utils.mean import mean_wasserstein

    x = torch.stack([spd(cond, seed) for seed in range(8)])
    w = torch.rand(8, dtype=torch.float64) + 0.1
    theirs = mean_wasserstein(x.numpy(), sample_weight=w.numpy(), tol=1e-12, maxiter=500)
    torch.testing.assert_close(M.frechet_mean(x, w), torch.as_tensor(theirs), rtol=1e-9, atol=1e-9)


@pytest.mark.peers
def test_peers_return_noise_for_close_pairs() -> None:
    """At distance 1e-6 and condition 1e4 they lose every digit; here 1e-12 is left."""
    from pyriemann.utils.distance import distance_wasserstein
    from spd_learn.functional.metrics.bures_wasserstein import bures_wasserstein_distance

    for seed in range(4):
        x, y = pair(1e4, 1e-6, seed)
        expected = REFERENCE.dist(matrix(x), matrix(y))
        assert abs(float(M.dist(x, y)) / expected - 1) < 1e-12
        for peer in (distance_wasserstein, bures_wasserstein_distance):
            assert not abs(float(peer(x, y)) / expected - 1) < 1e-3
