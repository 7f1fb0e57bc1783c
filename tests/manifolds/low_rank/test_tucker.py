"""Tensors of fixed multilinear rank where ranks are special."""

import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import FixedRankMatrix, FixedRankTucker, MatrixPoint, TuckerPoint
from tests.manifolds.low_rank.suite import assert_small, noise, real, tangent_basis


def point(shape: tuple[int, ...], ranks: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> TuckerPoint:
    bases = [
        torch.linalg.qr(noise((n, r), dtype, seed + k)).Q for k, (n, r) in enumerate(zip(shape, ranks, strict=True))
    ]
    return TuckerPoint(noise(ranks, dtype, seed + 9), tuple(bases))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("ranks", [(3, 2, 1), (5, 4, 6), (5, 2, 2), (4, 1, 1)])
def test_ranks_that_no_tensor_attains_or_that_fill_the_space(ranks: tuple[int, ...], dtype: torch.dtype) -> None:
    m = FixedRankTucker((5, 4, 6))
    x, y, z = point(m.shape, ranks, dtype), point(m.shape, ranks, dtype, 5), noise(m.shape, dtype, 1)
    t = m.project(x, z)
    dense = m.to_dense(m.embed(x, t)) - m.to_dense(x)
    basis = tangent_basis(m, x)
    assert_small(real(dense) - basis @ (basis.mT @ real(z)), 1e-13)
    assert_small(m.norm(t) - dense.norm(), 1e-13)
    moved, expected = m.transport(x, t, y), m.project(y, dense)
    assert_small(m.norm(m.combine(1.0, moved, -1.0, expected)), 1e-13)
    assert_small(m.to_dense(m.truncate(m.embed(x, t))) - m.to_dense(x) - dense, 1e-13)


def test_unattained_ranks_have_no_dimension() -> None:
    m = FixedRankTucker((5, 4, 6))
    assert m.dim((2, 3, 2)) == 12 + 2 * 3 + 3 * 1 + 2 * 4
    for f in (m.dim, m.random):
        with pytest.raises(ValueError, match="at most the product of the others"):
            f((3, 2, 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_two_modes_are_a_matrix(dtype: torch.dtype) -> None:
    """``U C V^T`` is ``U C conj(V)^H``, and the blocks have the same lengths."""
    tucker, matrix = FixedRankTucker((7, 6)), FixedRankMatrix(7, 6)
    x, z = point((7, 6), (3, 3), dtype), noise((7, 6), dtype, 1)
    same = MatrixPoint(x.factors[0], x.core, x.factors[1].conj())
    t, s = tucker.project(x, z), matrix.project(same, z)
    assert tucker.dim(3) == matrix.dim(3)
    assert_small(tucker.block_inner(t, t) - matrix.block_inner(s, s)[[1, 0, 2]], 1e-13)
    assert_small(tucker.to_dense(tucker.retract(x, t)) - matrix.to_dense(matrix.retract(same, s)), 1e-13)


def test_a_tiny_core_is_projected_exactly() -> None:
    m = FixedRankTucker((6, 5, 4))
    x = point(m.shape, (2, 2, 2), torch.float64)
    core = torch.zeros(2, 2, 2, dtype=torch.float64)
    core[0, 0, 0], core[1, 1, 1] = 1.0, 1e-200
    x = x._replace(core=core)
    z = noise(m.shape, torch.float64, 1)
    t = m.project(x, z)
    assert_small(m.norm(m.combine(1.0, t, -1.0, m.project(x, m.to_dense(m.embed(x, t)) - m.to_dense(x)))), 1e-13)


def test_the_error_of_a_truncation_is_within_the_square_root_of_d() -> None:
    m = FixedRankTucker((6, 5, 4))
    for seed in range(20):
        w = noise(m.shape, torch.float64, seed)
        error = (m.to_dense(m.from_dense(w, ranks=(3, 3, 2))) - w).norm()
        assert error <= 3**0.5 * hooi(w, (3, 3, 2))


def hooi(w: Tensor, ranks: tuple[int, ...]) -> Tensor:
    """The error of higher-order orthogonal iteration from the higher-order singular value decomposition."""

    def leading(t: Tensor, k: int) -> Tensor:
        return torch.linalg.svd(t.movedim(k, 0).flatten(1), full_matrices=False).U[:, : ranks[k]]

    bases = [leading(w, k) for k in range(3)]
    for _ in range(50):
        for k, equation in enumerate(["ijk,jb,kc->ibc", "ijk,ia,kc->ajc", "ijk,ia,jb->abk"]):
            bases[k] = leading(torch.einsum(equation, w, *[u for i, u in enumerate(bases) if i != k]), k)
    core = torch.einsum("ijk,ia,jb,kc->abc", w, *bases)
    return (w.square().sum() - core.square().sum()).sqrt()
