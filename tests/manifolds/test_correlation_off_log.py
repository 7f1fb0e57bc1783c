"""The off-log geometry of correlation matrices against 80 digits, Fisher's z and geomstats."""

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.manifolds import Checked, CorrelationOffLog, OffManifoldError
from isometry.manifolds.frechet import frechet_mean
from isometry.manifolds.testing import assert_isometry
from tests.manifolds.reference_spd import CorrelationOffLog as Reference
from tests.manifolds.reference_spd import Matrix, floats, matrix, size

M = CorrelationOffLog(3)
PAIR = CorrelationOffLog(2)
REFERENCE = Reference()


def two_variables(r: float) -> Tensor:
    return torch.tensor([[1.0, r], [r, 1.0]], dtype=torch.float64)


def exact(x: Tensor) -> Matrix:
    """The correlation matrix with the given entries off the diagonal."""
    value = matrix(x)
    for i in range(value.rows):
        value[i, i] = 1
    return value


@pytest.mark.parametrize(("r", "s"), [(0.0, 0.5), (0.3, 0.3 + 1e-9), (-0.9, 0.9), (1 - 1e-6, 1 - 2e-6), (0.999999, 0)])
def test_two_variables_are_fishers_z(r: float, s: float) -> None:
    """``d = sqrt(2) |artanh r - artanh s|``: the eigenvalues of the matrix are 1 + r and 1 - r."""
    x, y = two_variables(r), two_variables(s)
    expected = math.sqrt(2) * abs(math.atanh((r - s) / (1 - r * s)))
    assert float(PAIR.dist(x, y)) == pytest.approx(expected, rel=1e-9 if max(r, s) > 0.99 else 1e-14)
    condition = 2 / (1 - max(abs(r), abs(s)))
    torch.testing.assert_close(PAIR.expmap(x, PAIR.logmap(x, y)), y, rtol=0, atol=1e-15 * condition)


def test_exp_log_and_distance() -> None:
    for x, y in zip(*M.random(2, 3, 3, 3, dtype=torch.float64), strict=True):
        u = M.logmap(x, y)
        p, q = exact(x), exact(y)
        assert abs(float(M.dist(x, y)) - REFERENCE.dist(p, q)) <= 1e-14
        torch.testing.assert_close(M.expmap(x, u / 2), floats(REFERENCE.expmap(p, matrix(u) / 2)), rtol=0, atol=1e-13)
        assert abs(REFERENCE.norm(p, matrix(u)) - REFERENCE.dist(p, q)) <= 1e-13


def test_close_pairs() -> None:
    x = M.random(8, 3, 3, dtype=torch.float64)
    y = x + 1e-6 * M.proju(x, torch.randn_like(x))
    for a, b in zip(x, y, strict=True):
        expected = REFERENCE.dist(exact(a), exact(b))
        assert (
            abs(float(M.dist(a, b)) - expected) <= 1e-9 * expected
        )  # the unit diagonals are rounded, by 1e-16 in 1e-6
        same = [torch.where(torch.eye(3) > 0, 1.0, z) for z in (a, b)]
        assert abs(float(M.dist(*same)) - expected) <= 1e-12 * expected


@pytest.mark.parametrize("n", [3, 10, 30])
@pytest.mark.parametrize("spread", [0.5, 2.0, 5.0, 10.0])
def test_every_hollow_matrix_belongs_to_a_correlation_matrix(n: int, spread: float) -> None:
    """Up to condition 1e13 here. The error of the diagonal is that of the exponential of a matrix of that size."""
    m = CorrelationOffLog(n)
    eye = m.origin(20, n, n, dtype=torch.float64)
    z = spread / n**0.5 * m.proju(eye, torch.randn(20, n, n, dtype=torch.float64))
    x = m.expmap(eye, z)
    assert (x.diagonal(dim1=-2, dim2=-1) - 1).abs().max() <= 1e-12
    assert (torch.linalg.eigvalsh(x) > -1e-14).all()


def test_what_is_out_of_range_is_nan() -> None:
    eye = PAIR.origin(2, 2, dtype=torch.float64)
    far = PAIR.expmap(eye, torch.tensor([[0.0, 60.0], [60.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(far, torch.ones_like(far))  # 1 - r = 2 e^-120 is below the format
    assert PAIR.expmap(eye, torch.full((2, 2), math.nan, dtype=torch.float64).fill_diagonal_(0)).isnan().all()


def test_invariance_under_permutations_and_signs() -> None:
    x, y = M.random(2, 10, 3, 3, dtype=torch.float64)
    order, signs = torch.tensor([2, 0, 1]), torch.tensor([1.0, -1.0, 1.0]).diag().double()
    assert_isometry(M, lambda p: p[:, order][:, :, order], x, y, atol=1e-13)
    assert_isometry(M, lambda p: signs @ p @ signs, x, y, atol=1e-13)


def test_the_mean_is_closed_and_the_minimizer() -> None:
    x = M.random(2, 5, 3, 3, dtype=torch.float64)
    mean = M.frechet_mean(x)
    torch.testing.assert_close(frechet_mean(M, x), mean)
    for points, m in zip(x, mean, strict=True):
        charts = [REFERENCE.chart(exact(p)) for p in points]
        assert size(matrix(m) - REFERENCE.point(sum(charts[1:], charts[0]) / 5)) <= 1e-14


def test_projection_is_the_correlation_of_a_covariance() -> None:
    a = torch.randn(50, 3, dtype=torch.float64)
    torch.testing.assert_close(M.projx(torch.cov(a.mT)), torch.corrcoef(a.mT))


def test_construction_and_checks() -> None:
    with pytest.raises(ValueError, match="at least two variables, but got n=1"):
        CorrelationOffLog(1)
    assert M.with_dim(6) == CorrelationOffLog(4)
    with pytest.raises(ValueError, match="correlations, but got dim=4"):
        M.with_dim(4)
    eye = torch.eye(2)
    with pytest.raises(OffManifoldError, match=re.escape("argument 'y': point residual 1.0e+00 > tolerance 1e-05")):
        Checked(PAIR).dist(eye, 2 * eye)
    with pytest.raises(OffManifoldError, match=re.escape("argument 'u': tangent residual 1.0e+00 > tolerance 1e-05")):
        Checked(PAIR).expmap(eye, eye)


@pytest.mark.peers
def test_geomstats_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # which geomstats 2.8 takes from numpy 1
    from geomstats.geometry.full_rank_correlation_matrices import FullRankCorrelationMatrices, OffLogMetric

    m = CorrelationOffLog(4)  # geomstats has our weights (1, 0, 0) of its three for n >= 4 only
    x, y = m.random(2, 4, 4, dtype=torch.float64)
    metric = OffLogMetric(FullRankCorrelationMatrices(4, equip=False), alpha=1.0, beta=0.0, gamma=0.0)
    log = m.logmap(x, y)
    torch.testing.assert_close(torch.as_tensor(metric.log(y.numpy(), x.numpy())), log)
    torch.testing.assert_close(
        torch.as_tensor(metric.exp(log.numpy(), x.numpy())), y, rtol=0, atol=1e-5
    )  # they stop there
    assert float(metric.dist(x.numpy(), y.numpy())) == pytest.approx(float(m.dist(x, y)))
