"""Rotation groups in 50-digit arithmetic, by the definitions: exponential and logarithm of matrices, brackets.

Floats stand for the group element nearest to them. On a group with bi-invariant metric ``v = x b`` is parallel along
``x exp(t a)`` where ``b' = -[a, b]/2``, a series of nested brackets.

Source: Milnor 1976, Curvatures of left invariant metrics on Lie groups, section 7 (the connection).
"""

from typing import Any

import torch
from mpmath import MPContext

MP = MPContext()  # a context of our own: the precision of other users of mpmath stays as it is
MP.dps = 50

Matrix = Any  # mpmath has no type stubs


def matrix(x: torch.Tensor) -> Matrix:
    """The given floats, exactly."""
    return MP.matrix([[MP.convert(value) for value in row] for row in x.tolist()])


def floats(x: Matrix, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """The nearest floats."""
    convert = complex if dtype.is_complex else lambda value: float(MP.re(value))
    return torch.tensor([[convert(value) for value in row] for row in x.tolist()], dtype=dtype)


def element(x: torch.Tensor) -> Matrix:
    """The group element nearest to the floats x, by the iteration ``y (3 - y^H y)/2``, its determinant made 1."""
    y = matrix(x)
    for _ in range(4):  # each doubles the number of right digits
        y = y * (3 * MP.eye(y.rows) - y.H * y) / 2
    return y / MP.root(MP.det(y), y.rows)


def algebra(x: Matrix, u: torch.Tensor) -> Matrix:
    """The element a of the Lie algebra for which ``x a`` is nearest to the floats u."""
    a = x.H * matrix(u)
    a = (a - a.H) / 2
    return a - MP.eye(a.rows) * (sum(a[i, i] for i in range(a.rows)) / a.rows)


def exp(a: Matrix) -> Matrix:
    """The exponential."""
    return MP.expm(a)


def log(r: Matrix) -> Matrix:
    """The principal logarithm, by the eigenvalues (those of r are distinct in 50 digits)."""
    values, vectors = MP.eig(r)
    return vectors * MP.diag([MP.log(value) for value in values]) * vectors**-1


def norm(a: Matrix) -> Any:
    """The Frobenius norm."""
    return MP.mnorm(a, "f")


def transp_follow_expmap(x: Matrix, a: Matrix, b: Matrix) -> Matrix:
    """``x b`` carried along ``x exp(t a)``."""
    term, total = b, b
    for order in range(1, 80):
        term = (term * a - a * term) / (2 * order)
        total = total + term
    return x * exp(a) * total
