"""Tensor trains beside matrices, beside planted ranks and beside torchTT, pymanopt's counterpart for trains."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import FixedRankMatrix, FixedRankTT, MatrixPoint, TTPoint, select_ranks
from tests.manifolds.low_rank.suite import Case, assert_small, noise, real, tangent_basis

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)


def train(shape: tuple[int, ...], ranks: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> TTPoint:
    """A train with left-orthonormal cores and normal singular values; ranks that no tensor attains are allowed."""
    cores = []
    for k, (n, a, b) in enumerate(zip(shape, (1, *ranks), (*ranks, 1), strict=True)):
        core = noise((a * n, b), dtype, seed + k)
        cores.append((torch.linalg.qr(core).Q if k < len(ranks) else core).reshape(a, n, b))
    return TTPoint(tuple(cores))


@DTYPES
def test_two_modes_are_a_matrix(dtype: torch.dtype) -> None:
    """``G_1 G_2 = U (S V^H)``: the block of G_1 is K, that of G_2 the whole of ``U^H Z``."""
    m, matrix = FixedRankTT((7, 6)), FixedRankMatrix(7, 6)
    x, z = train(m.shape, (3,), dtype), noise((7, 6), dtype, 1)
    Q, R = torch.linalg.qr(x.cores[1].squeeze(-1).mH)
    same = MatrixPoint(x.cores[0].squeeze(0), R.mH, Q)
    t, s = m.project(x, z), matrix.project(same, z)
    assert m.dim(3) == matrix.dim(3)
    K, M, L = matrix.block_inner(s, s)
    assert_small(m.block_inner(t, t) - torch.stack([K, M + L]), 1e-13)
    assert_small(m.to_dense(m.retract(x, t)) - matrix.to_dense(matrix.retract(same, s)), 1e-13)


@DTYPES
@pytest.mark.parametrize("ranks", [(3, 4), (2, 6), (1, 4), (2, 8)])
def test_ranks_that_no_tensor_attains_or_that_fill_the_space(ranks: tuple[int, ...], dtype: torch.dtype) -> None:
    m = FixedRankTT((3, 4, 3))
    x, y, z = train(m.shape, ranks, dtype), train(m.shape, ranks, dtype, 5), noise(m.shape, dtype, 1)
    t = m.project(x, z)
    dense = m.to_dense(m.embed(x, t)) - m.to_dense(x)
    basis = tangent_basis(m, x)
    assert_small(real(dense) - basis @ (basis.mT @ real(z)), 1e-13)
    assert_small(m.norm(t) - dense.norm(), 1e-13)
    moved, expected = m.transport(x, t, y), m.project(y, dense)
    assert_small(m.norm(m.combine(1.0, moved, -1.0, expected)), 1e-13)
    assert_small(m.orthonormality(m.embed(x, t)), 1e-14)


@DTYPES
@pytest.mark.parametrize(("shape", "ranks"), [((4, 3, 5, 2), (3, 4, 2)), ((2,) * 7, (2, 3, 4, 3, 2, 1))])
def test_planted_ranks_are_recovered(shape: tuple[int, ...], ranks: tuple[int, ...], dtype: torch.dtype) -> None:
    m = FixedRankTT(shape)
    w = m.to_dense(train(shape, ranks, dtype))
    noisy = w + 1e-9 * noise(shape, dtype, 30) * w.norm() / math.prod(shape) ** 0.5
    for z, tol in [(w, 1e-12), (noisy, 1e-8)]:
        assert m.ranks(m.from_dense(z, tol=tol)) == ranks
    assert_small(m.to_dense(m.from_dense(w, tol=1e-12)) - w, 1e-12)


def test_a_tiny_singular_value_does_no_harm() -> None:
    m = FixedRankTT((4, 3, 5))
    x = train(m.shape, (2, 2), torch.float64)
    x.cores[2][1] *= 1e-200
    z = noise(m.shape, torch.float64, 1)
    t = m.project(x, z)
    basis = real(m.to_dense(m.vector(x, t)))
    assert_small(m.norm(t) - basis.norm(), 1e-13)
    assert_small(m.norm(m.combine(1.0, t, -1.0, m.project(x, basis.reshape(m.shape)))), 1e-13)


def test_rounding_is_within_the_square_root_of_the_number_of_bonds() -> None:
    """Of the best approximation, here by alternating least squares from the rounded train."""
    m = FixedRankTT((4, 4, 4, 4))
    for seed in range(5):
        w = noise(m.shape, torch.float64, seed)
        x = m.from_dense(w, ranks=3)
        error = (m.to_dense(x) - w).norm()
        for _ in range(30):
            x = m.retract(x, m.project(x, w - m.to_dense(x)))
        assert (m.to_dense(x) - w).norm() <= error <= 3**0.5 * (m.to_dense(x) - w).norm()


def test_one_number_as_ranks_is_the_largest() -> None:
    m = FixedRankTT((2, 3, 4, 2))
    assert m.full_ranks == (2, 6, 24)
    assert m.check_ranks(5) == (2, 5, 2)
    assert m.check_ranks((2, 6, 24)) == (2, 6, 24)
    assert m.dim(1) == 1 + 1 + 2 + 3 + 1
    for ranks in (0, 25, (2, 7, 2), (2, 5)):
        with pytest.raises(ValueError, match="expected ranks between 1 and"):
            m.check_ranks(ranks)
    for f in (m.dim, m.random):
        with pytest.raises(ValueError, match="neighbouring ranks that differ by at most the factor"):
            f((1, 5, 2))


def test_ranks_under_a_budget() -> None:
    """Beside all ranks: nothing more fits, and the energy kept is nearly the most that does."""
    m = FixedRankTT((3, 4, 3))
    for seed, budget in itertools.product(range(5), (10, 20, 30, 45, 70)):
        w = noise(m.shape, torch.float64, seed)
        energies = [torch.linalg.svdvals(w.flatten(k).flatten(0, k - 1)).square() for k in (1, 2)]

        def kept(ranks: tuple[int, ...], energies: list[Tensor] = energies) -> float:
            return sum(float(e[:r].sum()) for e, r in zip(energies, ranks, strict=True))

        fitting = [r for r in itertools.product((1, 2, 3), repeat=2) if m.num_parameters(r) <= budget]
        a, b = found = select_ranks(energies, m.num_parameters, budget)
        assert found in fitting
        assert (a + 1, b) not in fitting
        assert (a, b + 1) not in fitting
        assert kept(found) >= 0.9 * max(map(kept, fitting))
        assert m.num_parameters(m.ranks(m.from_dense(w, budget=budget))) <= budget


def test_a_sufficient_budget_keeps_everything() -> None:
    m, ranks = FixedRankTT((4, 3, 5, 2)), (3, 4, 2)
    w = m.to_dense(train(m.shape, ranks, torch.float64))
    x = m.from_dense(w, budget=m.num_parameters(ranks))
    assert_small(m.to_dense(x) - w, 1e-12)


@pytest.mark.peers
class TestTorchTT:
    def test_projection_and_rounding(self) -> None:
        import torchtt

        case = Case(FixedRankTT((6, 5, 4, 3)), (3, 4, 2), lambda w: [w])
        m, x, z = case.manifold, case.point(), noise((6, 5, 4, 3), torch.float64, 1)
        theirs = torchtt.manifold.riemannian_projection(torchtt.TT(list(x.cores)), torchtt.TT(z, eps=1e-14))
        assert_small(theirs.full() - case.dense(x, m.project(x, z)), 1e-13)
        long = m.embed(x, m.zero(x))
        rounded = torchtt.TT(list(long.cores)).round(1e-10)
        assert rounded.R[1:-1] == list(m.ranks(m.truncate(long, tol=1e-10))) == [3, 4, 2]
        assert_small(rounded.full() - m.to_dense(x), 1e-12)
        theirs, ours = torchtt.TT(z, rmax=[1, 3, 4, 2, 1]).full(), m.to_dense(m.from_dense(z, ranks=case.ranks))
        assert_small((theirs - z).norm() - (ours - z).norm(), 1e-12)

    def test_gradient(self) -> None:
        import torchtt

        case = Case(FixedRankTT((6, 5, 4)), (3, 2), lambda w: [w])
        m, x, z = case.manifold, case.point(), noise((6, 5, 4), torch.float64, 1)

        def loss(w: Any) -> Tensor:
            return (w.full() - z).square().sum() / 2

        theirs = torchtt.manifold.riemannian_gradient(torchtt.TT(list(x.cores)), loss)
        assert_small(theirs.full() - case.dense(x, m.project(x, m.to_dense(x) - z)), 1e-12)
