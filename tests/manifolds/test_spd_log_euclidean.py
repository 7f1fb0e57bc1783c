"""What is particular to the log-Euclidean metric."""

import pytest
import torch

from isometry.manifolds import SPDLogEuclidean
from isometry.manifolds.frechet import frechet_mean
from isometry.manifolds.testing import assert_isometry
from tests.manifolds.reference_spd import LogEuclidean, floats, matrix

M = SPDLogEuclidean(3)


def test_invariance_under_rotations_scaling_and_inversion() -> None:
    x, y = M.random(2, 10, 3, 3, dtype=torch.float64)
    q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    for f in (lambda p: q @ p @ q.mT, lambda p: 7 * p, torch.linalg.inv):
        assert_isometry(M, f, x, y, atol=1e-12)


def test_the_mean_is_closed_and_the_minimizer() -> None:
    x = M.random(2, 5, 3, 3, dtype=torch.float64)
    weights = torch.rand(2, 5, dtype=torch.float64)
    reference = LogEuclidean()
    mean = M.frechet_mean(x, weights)
    for points, w, m in zip(x, weights, mean, strict=True):
        logs = [reference.chart(matrix(p)) * float(a) for p, a in zip(points, w, strict=True)]
        expected = reference.point(sum(logs[1:], logs[0]) / float(w.sum()))
        torch.testing.assert_close(m, floats(expected))
    torch.testing.assert_close(frechet_mean(M, x, weights), mean)


def test_the_determinant_of_a_mean_is_the_geometric_mean_of_the_determinants() -> None:
    x = M.random(7, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(torch.logdet(M.frechet_mean(x)), torch.logdet(x).mean())


def test_the_mean_needs_points() -> None:
    for x in (M.random(3, 3), torch.empty(0, 3, 3)):
        with pytest.raises(ValueError, match=r"expected points \[\*batch, k >= 1, \*\(3, 3\)\], got"):
            M.frechet_mean(x)


def test_geodesics_are_powers_of_commuting_matrices() -> None:
    x, y = torch.diag(torch.tensor([1.0, 4.0, 9.0])), torch.diag(torch.tensor([16.0, 4.0, 1.0]))
    torch.testing.assert_close(M.geodesic(0.5, x, y), torch.diag(torch.tensor([4.0, 4.0, 3.0])))


def test_translations_are_the_commutative_group_of_the_logarithms() -> None:
    g, x = M.random(2, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(M.act(g, x), M.act(x, g))
    torch.testing.assert_close(M.act(torch.linalg.inv(g), M.act(g, x)), x)
