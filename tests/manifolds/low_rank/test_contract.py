"""Every low-rank manifold keeps the contract; a new one joins with one line."""

from typing import ClassVar

from torch import Tensor

from isometry.manifolds.low_rank import FixedRankMatrix, FixedRankTucker
from tests.manifolds.low_rank.suite import Case, LowRankSuite


def one(w: Tensor) -> list[Tensor]:
    return [w]


def modes(w: Tensor) -> list[Tensor]:
    return [w.movedim(k, 0).flatten(1) for k in range(w.ndim)]


class TestContract(LowRankSuite):
    cases: ClassVar = [
        Case(FixedRankMatrix(12, 9), (3, 3), one),
        Case(FixedRankMatrix(5, 8), (4, 4), one),  # 2 r > m
        Case(FixedRankTucker((6, 5, 4)), (2, 3, 2), modes),  # 2 r_3 = n_3, 2 r_2 > n_2
        Case(FixedRankTucker((4, 3, 5, 2)), (2, 2, 3, 1), modes),
        Case(FixedRankTucker((6, 7)), (3, 3), modes),
    ]
