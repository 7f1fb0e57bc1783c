"""Trees beside the formats that are special cases of them, and as an oracle of those."""

from typing import Any

import pytest
import torch

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank import (
    FixedRankMatrix,
    FixedRankTT,
    FixedRankTucker,
    LowRankManifold,
    MatrixPoint,
    TreePoint,
    TreeTensorNetwork,
    TTPoint,
    TuckerPoint,
    balanced_tree,
)
from tests.manifolds.low_rank.suite import assert_small, noise, real, tangent_basis

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
CHAIN = ((((0,), 1), 2), 3)


def as_tree(x: Any) -> TreePoint:
    """The same factors as nodes."""
    if isinstance(x, MatrixPoint):
        return TreePoint((x.U, x.V.conj(), x.S.unsqueeze(-1)))
    if isinstance(x, TuckerPoint):
        return TreePoint((*x.factors, x.core.unsqueeze(-1)))
    assert isinstance(x, TTPoint)
    return TreePoint((x.cores[0].squeeze(-3), *x.cores[1:]))


FORMATS: list[tuple[LowRankManifold[Any, Any], TreeTensorNetwork, Any]] = [
    (FixedRankMatrix(7, 5), TreeTensorNetwork((7, 5), ((0,), (1,))), (3, 3)),
    (FixedRankTucker((4, 3, 5)), TreeTensorNetwork((4, 3, 5), ((0,), (1,), (2,))), (2, 3, 2)),
    (FixedRankTT((3, 2, 4, 3)), TreeTensorNetwork((3, 2, 4, 3), CHAIN), (2, 3, 2)),
]


@DTYPES
@pytest.mark.parametrize(("special", "tree", "ranks"), FORMATS, ids=str)
def test_special_cases(special: Any, tree: TreeTensorNetwork, ranks: tuple[int, ...], dtype: torch.dtype) -> None:
    x, y = (special.random(ranks, generator=torch.Generator().manual_seed(s), dtype=dtype) for s in (0, 1))
    z = noise(tree.shape, dtype, 3)
    same, there = as_tree(x), as_tree(y)
    assert tree.dim(ranks) == special.dim(ranks)
    assert tree.num_parameters(ranks) == special.num_parameters(ranks)
    assert_small(tree.to_dense(same) - special.to_dense(x), 1e-14)
    t, s = special.project(x, z), tree.project(same, z)
    dense = special.to_dense(special.vector(x, t))
    assert_small(tree.to_dense(tree.vector(same, s)) - dense, 1e-13)
    assert_small(torch.sort(tree.block_inner(s, s)).values - torch.sort(special.block_inner(t, t)).values, 1e-13)
    moved = tree.to_dense(tree.vector(there, tree.transport(same, s, there)))
    assert_small(moved - special.to_dense(special.vector(y, special.transport(x, t, y))), 1e-13)
    for grown in (tree.augment(same, s), tree.embed(same, s)):
        assert tree.ranks(grown) == special.ranks(special.augment(x, t))
    for tol in (1e-10, 0.3, 0.6):
        assert tree.ranks(tree.from_dense(z, tol=tol)) == special.ranks(special.from_dense(z, tol=tol))
    assert_small(
        tree.to_dense(tree.from_dense(z, ranks=ranks)) - special.to_dense(special.from_dense(z, ranks=ranks)), 1e-13
    )


@DTYPES
def test_a_matrix_is_retracted_alike(dtype: torch.dtype) -> None:
    special, tree, ranks = FORMATS[0]
    x = special.random(ranks, dtype=dtype, generator=torch.Generator().manual_seed(0))
    z = noise(tree.shape, dtype, 3)
    same = as_tree(x)
    ours = tree.to_dense(tree.retract(same, tree.project(same, z)))
    assert_small(ours - special.to_dense(special.retract(x, special.project(x, z))), 1e-13)


@DTYPES
def test_a_tree_of_three_levels_and_mixed_arity(dtype: torch.dtype) -> None:
    """Ranks that fill a mode, modes at inner nodes, modes out of order; beside the Jacobian of all nodes."""
    m = TreeTensorNetwork((2, 3, 2, 2, 3), ((4, ((1,), 3, (0,))), (2,)))
    ranks = m.check_ranks(2)
    x = m.random(ranks, dtype=dtype, generator=torch.Generator().manual_seed(0))
    x = TreePoint((*x.nodes[:-1], x.nodes[-1] + 0.3 * noise(x.nodes[-1].shape, dtype, 1)))
    z = noise(m.shape, dtype, 2)
    basis = tangent_basis(m, x)
    t = m.project(x, z)
    assert_small(real(m.to_dense(m.vector(x, t))) - basis @ (basis.mT @ real(z)), 1e-13)
    assert basis.shape[1] == m.dim(ranks) * (2 if dtype.is_complex else 1)
    assert_small(m.to_dense(m.embed(x, t)) - m.to_dense(x) - m.to_dense(m.vector(x, t)), 1e-13)


@DTYPES
@pytest.mark.parametrize("tree", [None, CHAIN, ((0, 1), (2,), (3,)), ((3,), (1, (0, 2)))])
def test_planted_ranks_are_recovered(tree: Any, dtype: torch.dtype) -> None:
    m = TreeTensorNetwork((3, 4, 3, 4), tree)
    ranks = m.check_ranks(2)
    w = m.to_dense(m.random(ranks, dtype=dtype, generator=torch.Generator().manual_seed(1)))
    x = m.from_dense(w, tol=1e-10)
    assert m.ranks(x) == ranks
    assert_small(m.to_dense(x) - w, 1e-13)
    assert m.ranks(m.truncate(m.augment(x, m.project(x, noise(m.shape, dtype, 3))), tol=1e-10)) == ranks


def test_trees() -> None:
    assert balanced_tree(5) == (((((0,), (1,)), (2,))), ((3,), (4,)))
    assert repr(TreeTensorNetwork((2, 3))) == "TreeTensorNetwork((2, 3), ((0,), (1,)))"
    assert TreeTensorNetwork((2, 3)) == TreeTensorNetwork((2, 3), [[0], [1]])
    assert TreeTensorNetwork((2, 3)) != TreeTensorNetwork((2, 3), ((1,), (0,)))
    for wrong in [((0,), (0,)), ((0,),), ((0, 1),), (0, 1), ((0,), (1,), 1)]:
        with pytest.raises(ShapeError, match="expected a root with two legs or more"):
            TreeTensorNetwork((2, 3), wrong)
    for wrong in [((0,), (1, ())), ((0,), (2,)), ((0,), (9,)), ((0,), (-1,))]:
        with pytest.raises(ShapeError, match="nodes with legs, modes 0 to 1"):
            TreeTensorNetwork((2, 3), wrong)


def test_ranks() -> None:
    m = TreeTensorNetwork((2, 3, 2, 2))
    assert m.full_ranks == (2, 3, 6, 2, 2, 4)
    assert m.check_ranks(5) == (2, 3, 4, 2, 2, 4)
    for f in (m.dim, m.random):
        with pytest.raises(ValueError, match="product of the other legs"):
            f((1, 1, 2, 1, 1, 2))
    with pytest.raises(ValueError, match="expected ranks between"):
        m.check_ranks((3, 3, 4, 2, 2, 4))
