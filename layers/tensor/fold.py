"""How the rows and the columns of a matrix are folded into the modes of a tensor."""

import math
from collections.abc import Sequence

from isometry.manifolds import ShapeError

Fold = tuple[Sequence[int], Sequence[int]]


def balanced(n: int) -> tuple[int, int]:
    """Return the factors ``(a, b)``, ``n = a b`` and ``a <= b``, that differ least; ``(1, n)`` for a prime."""
    a = next(a for a in range(math.isqrt(n), 0, -1) if n % a == 0)
    return a, n // a


def checked_fold(rows: int, columns: int, fold: Fold | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the modes of rows and of columns; by default two balanced ones of each.

    Raises:
        ShapeError: The modes do not multiply to the sizes.
    """
    if fold is None:
        return balanced(rows), balanced(columns)
    out, inp = (tuple(int(n) for n in sizes) for sizes in fold)
    if math.prod(out) != rows or math.prod(inp) != columns or min(*out, *inp) < 1:
        raise ShapeError(
            f"fold: expected sizes that multiply to {rows} rows and to {columns} columns, but got {out} and {inp}, "
            f"which multiply to {math.prod(out)} and {math.prod(inp)}."
        )
    return out, inp
