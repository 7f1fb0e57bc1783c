"""Matrices of fixed rank beside the textbook, and beside pymanopt."""

import pytest
import torch

from isometry.manifolds.low_rank import FixedRankMatrix
from tests.manifolds.low_rank.suite import Case, assert_small, noise

M = FixedRankMatrix(12, 9)
CASE = Case(M, (3, 3), lambda w: [w])


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_projection_by_the_projectors(dtype: torch.dtype) -> None:
    x, z = CASE.point(dtype), noise(M.shape, dtype, 1)
    p, q = x.U @ x.U.mH, x.V @ x.V.mH
    t = M.project(x, z)
    assert_small(x.U @ t.M @ x.V.mH + t.K @ x.V.mH + x.U @ t.L.mH - (p @ z + z @ q - p @ z @ q), 1e-14)
    assert_small(x.U.mH @ t.K, 1e-14)
    assert_small(x.V.mH @ t.L, 1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_retraction_is_the_best_approximation(dtype: torch.dtype) -> None:
    x = CASE.point(dtype)
    t = CASE.tangent(x)
    u, s, vh = torch.linalg.svd(M.to_dense(x) + CASE.dense(x, t), full_matrices=False)
    assert_small(M.to_dense(M.retract(x, t)) - (u[:, :3] * s[:3]) @ vh[:3], 1e-13)


def test_no_singular_value_is_too_small() -> None:
    """Projection, embedding and transport at a point of condition 1e300 are as exact as at any other."""
    x = CASE.point()
    x = x._replace(S=torch.diag(torch.tensor([1.0, 1e-12, 1e-300], dtype=torch.float64)))
    z = noise(M.shape, torch.float64, 1)
    p, q = x.U @ x.U.mH, x.V @ x.V.mH
    t = M.project(x, z)
    expected = p @ z + z @ q - p @ z @ q
    y = M.embed(x, t)
    assert_small(M.to_dense(y) - M.to_dense(x) - expected, 1e-14)
    assert_small(M.orthonormality(M.retract(x, t)), 1e-14)


def test_ranks() -> None:
    assert M.dim(3) == M.dim((3, 3)) == 54
    assert M.full_ranks == (12, 9)
    with pytest.raises(ValueError, match="equal ranks of rows and columns"):
        M.dim((3, 4))
    assert M.ranks(M.from_dense(torch.randn(12, 9), ranks=5)) == (5, 5)
    assert repr(M) == "FixedRankMatrix(12, 9)"


def test_budget_is_the_largest_rank_that_fits() -> None:
    for budget in (22, 46, 47, 100, 10_000):
        (r, _) = M.ranks(M.from_dense(torch.randn(12, 9), budget=budget))
        assert M.num_parameters(r) <= budget
        assert r == 9 or M.num_parameters(r + 1) > budget


@pytest.mark.peers
class TestPymanopt:
    def test_projection_retraction_and_transport(self) -> None:
        from pymanopt.manifolds import FixedRankEmbedded

        theirs = FixedRankEmbedded(12, 9, 3)
        x, y = (M.from_dense(M.to_dense(CASE.point(seed=s))) for s in (0, 1))  # their cores are diagonal
        x, y = M.truncate(x, ranks=3), M.truncate(y, ranks=3)
        z = noise(M.shape, torch.float64, 1)
        points = [(p.U.numpy(), torch.diag(p.S).numpy(), p.V.mT.numpy()) for p in (x, y)]

        def dense(point: tuple, vector: tuple) -> torch.Tensor:
            embedded = theirs.embedding(point, vector)
            return torch.as_tensor(embedded[0] @ embedded[1] @ embedded[2].T)

        t = M.project(x, z)
        vector = theirs.projection(points[0], z.numpy())
        assert_small(dense(points[0], vector) - CASE.dense(x, t), 1e-14)
        u, s, vt = theirs.retraction(points[0], vector)
        assert_small(torch.as_tensor(u * s @ vt) - M.to_dense(M.retract(x, t)), 1e-13)
        moved = theirs.transport(points[0], points[1], vector)
        assert_small(dense(points[1], moved) - CASE.dense(y, M.transport(x, t, y)), 1e-13)
        assert abs(theirs.norm(points[0], vector) - float(M.norm(t))) < 1e-13
