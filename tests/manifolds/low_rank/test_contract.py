"""Every low-rank manifold keeps the contract; a new one joins with one line."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from isometry.manifolds.low_rank import FixedRankMatrix, FixedRankTT, FixedRankTucker, TreeTensorNetwork
from tests.manifolds.low_rank.suite import Case, LowRankSuite


def one(w: Tensor) -> list[Tensor]:
    return [w]


def modes(w: Tensor) -> list[Tensor]:
    return [w.movedim(k, 0).flatten(1) for k in range(w.ndim)]


def bonds(w: Tensor) -> list[Tensor]:
    return [w.flatten(k).flatten(0, k - 1) for k in range(1, w.ndim)]


def below(*groups: tuple[int, ...]) -> Callable[[Tensor], list[Tensor]]:
    """The matricizations by groups of modes."""
    return lambda w: [w.movedim(g, tuple(range(len(g)))).flatten(len(g)).flatten(0, len(g) - 1) for g in groups]


class TestContract(LowRankSuite):
    cases: ClassVar = [
        Case(FixedRankMatrix(12, 9), (3, 3), one),
        Case(FixedRankMatrix(5, 8), (4, 4), one),  # 2 r > m
        Case(FixedRankTucker((6, 5, 4)), (2, 3, 2), modes),  # 2 r_3 = n_3, 2 r_2 > n_2
        Case(FixedRankTucker((4, 3, 5, 2)), (2, 2, 3, 1), modes),
        Case(FixedRankTucker((6, 7)), (3, 3), modes),
        Case(FixedRankTT((6, 5, 4)), (3, 2), bonds),
        Case(FixedRankTT((3, 2, 4, 3)), (2, 3, 2), bonds),  # 2 r > n on both sides
        Case(FixedRankTT((7, 6)), (3,), bonds),
        Case(TreeTensorNetwork((4, 3, 3, 3)), (2, 2, 3, 2, 2, 3), below((0,), (1,), (0, 1), (2,), (3,), (2, 3))),
        Case(TreeTensorNetwork((3, 2, 4, 3), ((1, (3, 0)), (2,))), (3, 2, 2), below((3, 0), (1, 3, 0), (2,))),
    ]
