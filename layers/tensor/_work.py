"""What contractions cost, in multiplications, so that a layer can choose between them before it computes."""

from typing import NamedTuple

BALANCE = 2
"""How many multiplications a processor core does in the time in which it reads or writes a number."""


Work = int | float
"""Infinite where something is not to be done at all."""


class Size(NamedTuple):
    """How much a layer is given: vectors of ``in`` channels, and those of ``out`` channels that it makes of them."""

    inputs: int
    outputs: int


def product(m: int, k: int, n: int) -> int:
    """Return the work of the product of an ``m x k`` and a ``k x n`` matrix: arithmetic and traffic."""
    return m * k * n + BALANCE * (m * k + k * n + m * n)
