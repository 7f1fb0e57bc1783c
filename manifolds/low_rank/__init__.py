"""Tensors of fixed rank, stored as orthonormal bases and a core: one interface for matrices, Tucker and trains."""

from isometry.manifolds.low_rank.base import LowRankManifold
from isometry.manifolds.low_rank.core_shape import mode_energies, select_tucker_ranks
from isometry.manifolds.low_rank.integrate import Solution, integrate
from isometry.manifolds.low_rank.matrix import FixedRankMatrix, MatrixPoint, MatrixTangent
from isometry.manifolds.low_rank.parameters import LowRankParameter, named_low_rank, register_low_rank
from isometry.manifolds.low_rank.tucker import FixedRankTucker, TuckerPoint, TuckerTangent

__all__ = [
    "FixedRankMatrix",
    "FixedRankTucker",
    "LowRankManifold",
    "LowRankParameter",
    "MatrixPoint",
    "MatrixTangent",
    "Solution",
    "TuckerPoint",
    "TuckerTangent",
    "integrate",
    "mode_energies",
    "named_low_rank",
    "register_low_rank",
    "select_tucker_ranks",
]
