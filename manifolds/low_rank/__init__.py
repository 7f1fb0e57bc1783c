"""Tensors of fixed rank, stored as orthonormal bases and a core: one interface for matrices, Tucker, trains, trees."""

from isometry.manifolds.low_rank._topology import balanced_tree
from isometry.manifolds.low_rank.base import LowRankManifold
from isometry.manifolds.low_rank.core_shape import mode_energies, select_ranks, select_tucker_ranks
from isometry.manifolds.low_rank.cp import (
    CPFit,
    balance,
    cp_als,
    cp_to_dense,
    reduce_sensitivity,
    ring_to_dense,
    sensitivity,
)
from isometry.manifolds.low_rank.dense import FixedRankDense
from isometry.manifolds.low_rank.integrate import Solution, integrate
from isometry.manifolds.low_rank.kronecker import KroneckerRearrangement
from isometry.manifolds.low_rank.matrix import FixedRankMatrix, MatrixPoint, MatrixTangent
from isometry.manifolds.low_rank.parameters import LowRankParameter, named_low_rank, register_low_rank
from isometry.manifolds.low_rank.tensor_train import FixedRankTT, TTPoint, TTTangent
from isometry.manifolds.low_rank.tree import TreePoint, TreeTangent, TreeTensorNetwork
from isometry.manifolds.low_rank.tubal import (
    TubalSVD,
    from_frequencies,
    t_product,
    t_svd,
    t_transpose,
    to_frequencies,
    tubal_point,
    tubal_rank,
)
from isometry.manifolds.low_rank.tucker import FixedRankTucker, TuckerPoint, TuckerTangent

__all__ = [
    "CPFit",
    "FixedRankDense",
    "FixedRankMatrix",
    "FixedRankTT",
    "FixedRankTucker",
    "KroneckerRearrangement",
    "LowRankManifold",
    "LowRankParameter",
    "MatrixPoint",
    "MatrixTangent",
    "Solution",
    "TTPoint",
    "TTTangent",
    "TreePoint",
    "TreeTangent",
    "TreeTensorNetwork",
    "TubalSVD",
    "TuckerPoint",
    "TuckerTangent",
    "balance",
    "balanced_tree",
    "cp_als",
    "cp_to_dense",
    "from_frequencies",
    "integrate",
    "mode_energies",
    "named_low_rank",
    "reduce_sensitivity",
    "register_low_rank",
    "ring_to_dense",
    "select_ranks",
    "select_tucker_ranks",
    "sensitivity",
    "t_product",
    "t_svd",
    "t_transpose",
    "to_frequencies",
    "tubal_point",
    "tubal_rank",
]
