"""What is particular to the log-Cholesky metric."""

import torch

from isometry.manifolds import SPDLogCholesky
from isometry.manifolds.frechet import frechet_mean
from isometry.manifolds.testing import assert_isometry
from tests.manifolds.reference_spd import LogCholesky, floats, matrix
from tests.manifolds.spd_cases import pair

M = SPDLogCholesky(3)


def test_it_is_not_invariant_under_rotations_but_under_its_group() -> None:
    x, y = M.random(2, 10, 3, 3, dtype=torch.float64)
    assert_isometry(M, lambda p: M.act(x[0], p), x, y, atol=1e-12)
    q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    assert (M.dist(q @ x @ q.mT, q @ y @ q.mT) - M.dist(x, y)).abs().max() > 1e-2


def test_the_mean_is_closed_and_the_minimizer() -> None:
    x = M.random(2, 5, 3, 3, dtype=torch.float64)
    mean = M.frechet_mean(x)
    reference = LogCholesky()
    for points, m in zip(x, mean, strict=True):
        charts = [reference.chart(matrix(p)) for p in points]
        torch.testing.assert_close(m, floats(reference.point(sum(charts[1:], charts[0]) / 5)))
    torch.testing.assert_close(frechet_mean(M, x), mean)


def test_the_diagonal_of_the_factor_of_a_mean_is_the_geometric_mean() -> None:
    x = M.random(7, 3, 3, dtype=torch.float64)
    diagonals = torch.linalg.cholesky(x).diagonal(dim1=-2, dim2=-1)
    expected = diagonals.log().mean(0).exp()
    torch.testing.assert_close(torch.linalg.cholesky(M.frechet_mean(x)).diagonal(), expected)


def test_the_distance_has_no_step_where_the_two_formulas_meet() -> None:
    """Along a ray through the border of the close pairs (0.5 in units of y) the distance is that of many digits."""
    m, reference = SPDLogCholesky(5), LogCholesky()
    for separation in (0.4, 0.45, 0.5, 0.55, 0.6, 0.7):
        x, y = pair(1e4, separation, seed=0)
        expected = reference.dist(matrix(x), matrix(y))
        assert abs(float(m.dist(x, y)) - expected) <= 1e-13 * expected


def test_no_direction_of_a_nearly_singular_factor_is_lost() -> None:
    """Of a diagonal that shrinks to nothing the change, ``-1 + 1e-12``, has few digits left; the ratio has all."""
    x = torch.diag(torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64))
    y = torch.diag(torch.tensor([1.0, 1.0, 1e-24], dtype=torch.float64))
    expected = torch.tensor(24.0, dtype=torch.float64) * torch.tensor(10.0, dtype=torch.float64).log() / 2
    torch.testing.assert_close(M.dist(x, y), expected, rtol=1e-15, atol=0)
