"""The generalized Bures-Wasserstein geometry against its definitions in 80 digits, which use no congruence."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.manifolds import SPDAffineInvariant, SPDBuresWasserstein, SPDGeneralizedBuresWasserstein, SPDLogEuclidean
from isometry.manifolds.testing import assert_isometry, assert_small
from tests.manifolds.reference_spd import MP, Geometry, Matrix, Real, matrix, product, size
from tests.manifolds.spd_cases import pair, spd

N = 4
EPS = torch.finfo(torch.float64).eps
METRIC = spd(10.0, 77, N)
M = SPDGeneralizedBuresWasserstein(N, M=METRIC)


class Generalized(Geometry):
    """``vec(u)^T (x (x) M + M (x) x)^-1 vec(v) / 2`` (Han, Mishra, Jawanpuria & Gao 2023, section 3)."""

    def __init__(self, m: Matrix) -> None:
        self.m, self.inverse = m, m**-1

    def lyapunov(self, x: Matrix, u: Matrix) -> Matrix:
        """The L with ``M L x + x L M = u``."""
        n, m = x.rows, self.m
        system, right = MP.zeros(n * n), MP.zeros(n * n, 1)
        for i in range(n):
            for j in range(n):
                right[i * n + j] = u[i, j]
                for k in range(n):
                    for l in range(n):  # noqa: E741
                        system[i * n + j, k * n + l] = m[i, k] * x[l, j] + x[i, k] * m[l, j]
        solution = MP.lu_solve(system, right)
        return MP.matrix([[solution[i * n + j] for j in range(n)] for i in range(n)])

    def inner(self, x: Matrix, u: Matrix, v: Matrix) -> Real:
        return product(self.lyapunov(x, u), v) / 2

    def dist(self, x: Matrix, y: Matrix) -> Real:
        """``tr M^-1 x + tr M^-1 y - 2 tr (x M^-1 y M^-1)^1/2``, the last from the eigenvalues of that product."""
        a, b = self.inverse * x, self.inverse * y
        cross = sum(MP.sqrt(MP.re(value)) for value in MP.eig(x * b * self.inverse, left=False, right=False))
        return MP.sqrt(sum(a[i, i] + b[i, i] for i in range(x.rows)) - 2 * cross)

    def logmap(self, x: Matrix, y: Matrix) -> Matrix:
        """``M (M^-1 x M^-1 y)^1/2 + (y M^-1 x M^-1)^1/2 M - 2 x``, the root from the eigenvectors."""
        values, vectors = MP.eig(self.inverse * x * self.inverse * y)
        half = self.m * vectors * MP.diag([MP.sqrt(MP.re(value)) for value in values]) * vectors**-1
        half = half.apply(MP.re)
        return half + half.T - 2 * x

    def expmap(self, x: Matrix, u: Matrix) -> Matrix:
        """``x + u + M L x L M``."""
        lift = self.lyapunov(x, u)
        return x + u + self.m * lift * x * lift * self.m


REFERENCE = Generalized(matrix(METRIC))


def symmetric(*shape: int) -> Tensor:
    z = torch.randn(*shape, dtype=torch.float64)
    return (z + z.mT) / 2


def test_the_reference_obeys_the_axioms() -> None:
    x, y = (matrix(z) for z in pair(10.0, None, 3, N))
    log = REFERENCE.logmap(x, y)
    exact = MP.mpf(10) ** -35
    assert size(REFERENCE.expmap(x, log) - y) < exact
    assert abs(REFERENCE.norm(x, log) - REFERENCE.dist(x, y)) < exact


@pytest.mark.parametrize(("cond", "separation"), [(10.0, 1e-6), (1e4, 1e-6), (1e4, 0.1), (1e4, None), (1e8, None)])
def test_distance_log_and_gradient(cond: float, separation: float | None) -> None:
    for seed in range(2):
        x, y = pair(cond, separation, seed, N)
        exact = [matrix(x), matrix(y)]
        expected = REFERENCE.dist(*exact)
        for p in (x, x.clone().requires_grad_()):
            assert abs(float(M.dist(p, y).detach()) - expected) <= 1e-12 * expected
        error = REFERENCE.norm(exact[0], matrix(M.logmap(x, y)) - REFERENCE.logmap(*exact))
        assert error <= 2000 * cond * EPS * expected
        inputs = (x.requires_grad_(), y.requires_grad_())
        for a, b, gradient in zip(exact, exact[::-1], torch.autograd.grad(M.dist(*inputs), inputs), strict=True):
            slope = REFERENCE.dist_egrad(a, b)
            assert size(matrix(gradient) - slope) <= 2000 * cond * EPS * size(slope)


def test_exp_and_inner() -> None:
    x, y = pair(10.0, None, 6, N)
    u, v = 0.3 * M.logmap(x, y), symmetric(N, N)
    exact = [matrix(z) for z in (x, u, v)]
    assert size(matrix(M.expmap(x, u)) - REFERENCE.expmap(*exact[:2])) <= 1e-13 * size(exact[0])
    assert abs(float(M.inner(x, u, v)) - REFERENCE.inner(*exact)) <= 1e-13 * REFERENCE.norm(exact[0], exact[2])


def test_with_the_identity_it_is_the_bures_wasserstein_geometry() -> None:
    plain, m = SPDBuresWasserstein(N), SPDGeneralizedBuresWasserstein(N)
    x, y = plain.random(2, 6, N, N, dtype=torch.float64)
    v = symmetric(6, N, N)
    for operation in (
        lambda g: g.dist(x, y),
        lambda g: g.logmap(x, y),
        lambda g: g.inner(x, v),
        lambda g: g.retr(x, v),
        lambda g: g.transp(x, y, v),
        lambda g: g.transp_to_origin(x, v),
        lambda g: g.transp_from_origin(x, v),
        lambda g: g.domain_margin(x, v),
        lambda g: g.frechet_mean(x),
        lambda g: g.origin(2, N, N, dtype=torch.float64),
    ):
        torch.testing.assert_close(operation(m), operation(plain), rtol=1e-14, atol=1e-14)


def test_at_m_it_is_a_quarter_of_the_affine_invariant_metric() -> None:
    u, v = symmetric(2, N, N)
    expected = SPDAffineInvariant(N).inner(METRIC, u, v) / 4
    torch.testing.assert_close(M.inner(METRIC, u, v), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(M.origin(N, N, dtype=torch.float64), METRIC)


def test_a_congruence_is_an_isometry_between_two_of_them() -> None:
    """``x -> g x g^T`` from M to ``g M g^T``; with the inverse Cholesky factor of M, onto the Bures-Wasserstein one."""
    x, y = M.random(2, 10, N, N, dtype=torch.float64)
    g = torch.randn(N, N, dtype=torch.float64)
    target = SPDGeneralizedBuresWasserstein(N, M=g @ METRIC @ g.mT)
    assert_isometry(M, lambda p: g @ p @ g.mT, x, y, target=target, atol=1e-11)
    inverse = torch.linalg.inv(torch.linalg.cholesky(METRIC))
    assert_isometry(M, lambda p: inverse @ p @ inverse.mT, x, y, target=SPDBuresWasserstein(N), atol=1e-13)


def test_transport_from_and_to_m_is_closed() -> None:
    x, v = spd(10.0, 5, N), symmetric(6, N, N)
    v = v / M.norm(x, v)[:, None, None]
    there = M.transp_to_origin(x, v)
    assert_small(M.norm(METRIC, there) - 1, 1e-13, "length at M")
    assert_small(M.norm(METRIC, M.transp(x, METRIC, v) - there), 1e-12, "transport to M")
    assert_small(M.norm(x, M.transp_from_origin(x, there) - v), 1e-13, "there and back")


def test_geodesics_end_where_the_margin_says() -> None:
    x, u = M.random(20, N, N, dtype=torch.float64), symmetric(20, N, N)
    life = (1 / (1 - M.domain_margin(x, u)))[:, None, None]
    assert M.expmap(x, 0.999 * life * u).isfinite().all()
    assert M.expmap(x, 1.001 * life * u).isnan().all()
    assert (torch.linalg.eigvalsh(M.retr(x, 100 * u)) > 0).all()


# --- the parameter -------------------------------------------------------------------------------------------------


def test_m_is_learned_through_its_factor() -> None:
    """By gradient descent on the parameter M comes to the given matrix, at which the metric is a quarter of AIM's."""
    m = SPDGeneralizedBuresWasserstein(2, learnable=True)
    assert [(name, tuple(p.shape)) for name, p in m.named_parameters()] == [("log_cholesky", (3,))]
    x = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    u = symmetric(10, 2, 2)
    expected = SPDAffineInvariant(2).inner(x, u) / 4
    optimizer = torch.optim.LBFGS(m.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (m.inner(x, u) / expected - 1).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    torch.testing.assert_close(m.M.detach(), x, rtol=1e-3, atol=1e-3)


def test_m_stays_positive_definite_whatever_the_parameter() -> None:
    m = SPDGeneralizedBuresWasserstein(3, learnable=True)
    with torch.no_grad():
        m.log_cholesky.copy_(4 * torch.randn(6))
    assert (torch.linalg.cholesky_ex(m.M).info == 0).all()
    x, y = m.random(2, 3, 3, dtype=torch.float64)
    assert m.dist(x, y) > 0


def test_spec_records_m() -> None:
    for learnable in (False, True):
        m = SPDGeneralizedBuresWasserstein(2, M=[[2.0, 0.5], [0.5, 1.0]], learnable=learnable)
        recorded = torch.tensor(m.spec["init_args"]["M"], dtype=torch.float64)
        torch.testing.assert_close(recorded, torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64))
        assert SPDGeneralizedBuresWasserstein(**m.spec["init_args"]).spec == m.spec
    assert SPDGeneralizedBuresWasserstein(1, M=[[3.0]]).spec["init_args"]["M"] == 3.0
    assert SPDGeneralizedBuresWasserstein(1, M=3.0).M.tolist() == [[3.0]]


def test_equality_and_copies() -> None:
    other = SPDGeneralizedBuresWasserstein(N, M=METRIC.clone())
    assert other == M == copy.deepcopy(M)
    assert other != SPDGeneralizedBuresWasserstein(N)
    x, y = M.random(2, N, N, dtype=torch.float64)
    assert M.dist(x, y) == copy.deepcopy(M).float().dist(x, y)  # a fixed M keeps its digits


@pytest.mark.parametrize(
    ("m", "message"),
    [
        (torch.eye(3), "matrix M, but got shape"),
        (-torch.eye(N), "one with point residual 2.0e"),
        (torch.eye(N).roll(1, 0), "one with point residual"),
        (torch.zeros(N, N), "one with point residual"),
        (torch.full((N, N), torch.nan), "one with point residual nan"),
        (torch.ones(N, N), "one with point residual"),
    ],
)
def test_a_matrix_that_is_no_metric_is_refused(m: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"expected a positive definite {N} x {N} {message}|{message}"):
        SPDGeneralizedBuresWasserstein(N, M=m)


def test_another_dimension_is_refused() -> None:
    assert M.with_dim(M.dim) is M
    with pytest.raises(ValueError, match="M belongs to dimension 10, but got dim=15"):
        M.with_dim(15)


def test_mean_lies_between_the_limits() -> None:
    """For commuting matrices and M the root of the mean is the mean of roots, whatever M."""
    m = SPDGeneralizedBuresWasserstein(3, M=torch.diag(torch.tensor([1.0, 2.0, 5.0])))
    a = torch.rand(6, 3, dtype=torch.float64) + 0.1
    torch.testing.assert_close(m.frechet_mean(a.square().diag_embed()), a.mean(0).square().diag())
    assert SPDLogEuclidean(3).frechet_mean(a.square().diag_embed())[0, 0] < a.mean(0).square()[0]
