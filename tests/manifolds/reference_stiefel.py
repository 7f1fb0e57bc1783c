"""The Stiefel manifold in 40-digit arithmetic: geodesics and transport as power series of their differential equations.

With Christoffel's form ``G_x(u, v)`` of the metric, a geodesic solves ``x'' + G_x(x', x') = 0`` and a transported
vector ``v' + G_x(x', v) = 0``. The solutions are entire functions of time, so their power series, summed at time 1, are
an oracle that shares no formula with the library (no exponential, no basis, no completion).

``exp_by_lift`` is the textbook's exponential, the oracle's own check; ``logmap`` solves ``exp_x(u) = y`` by Newton's
method with differences of it.

Source: Edelman, Arias & Smith 1998, equations 2.7, 2.41 and sections 2.2.2, 2.4.1 (the canonical form by polarization).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mpmath import MPContext

MP = MPContext()  # a context of our own: the precision of other users of mpmath stays as it is
MP.dps = 40

Matrix = npt.NDArray[np.object_]
_TERMS = 44  # of the power series: 1e-20 at length 2


def matrix(x: torch.Tensor) -> Matrix:
    """The given floats, exactly."""
    return np.array([[MP.mpf(value) for value in row] for row in x.tolist()], dtype=object)


def floats(x: Matrix) -> torch.Tensor:
    """The nearest floats."""
    return torch.tensor([[float(value) for value in row] for row in x], dtype=torch.float64)


def frame(x: torch.Tensor) -> Matrix:
    """The frame nearest to the floats x, which are orthonormal up to rounding, by the iteration ``y (3 - y^T y)/2``."""
    y = matrix(x)
    for _ in range(4):  # each doubles the number of right digits
        y = y.dot(np.eye(y.shape[1], dtype=int) * 3 - y.T.dot(y)) / 2
    return y


def tangent(x: Matrix, u: torch.Tensor) -> Matrix:
    """The tangent vector at x nearest to the floats u."""
    exact = matrix(u)
    along = x.T.dot(exact)
    return exact - x.dot(along + along.T) / 2


def inner(x: Matrix, u: Matrix, v: Matrix, beta: float) -> Any:
    """``tr u^T (1 - (1 - beta) x x^T) v``, which is Euclidean at beta = 1 and canonical at beta = 1/2."""
    return (u * v).sum() - (1 - MP.mpf(beta)) * (x.T.dot(u) * x.T.dot(v)).sum()


class Series:
    """A power series of matrices in time: a rule for each coefficient, given those before it."""

    def __init__(self, rule: Callable[[int], Matrix]) -> None:
        self.rule = rule
        self.known: list[Matrix] = []

    def __getitem__(self, order: int) -> Matrix:
        while len(self.known) <= order:
            self.known.append(self.rule(len(self.known)))
        return self.known[order]

    def __add__(self, other: "Series") -> "Series":
        return Series(lambda order: self[order] + other[order])

    def __matmul__(self, other: "Series") -> "Series":
        return Series(lambda order: sum(self[i].dot(other[order - i]) for i in range(order + 1)))

    @property
    def T(self) -> "Series":  # noqa: N802
        """The series of the transposed matrices."""
        return Series(lambda order: self[order].T)


def _christoffel(x: Series, u: Series, v: Series, beta: float) -> Series:
    """``2 G_x(u, v)``."""
    if beta == 1.0:
        return x @ (u.T @ v + v.T @ u)
    p, q = x.T @ u, x.T @ v
    return (u @ v.T + v @ u.T) @ x + x @ (p @ q + q @ p + u.T @ v + v.T @ u)


def exp_and_transp(x: Matrix, u: Matrix, v: Matrix, beta: float) -> tuple[Matrix, Matrix]:
    """The end of the geodesic of u and v carried along to it, by the recursion of their power series."""
    point = Series(lambda k: velocity[k - 1] / k if k else x)
    velocity = Series(lambda k: bend[k - 1] / (-2 * k) if k else u)
    moved = Series(lambda k: turn[k - 1] / (-2 * k) if k else v)
    bend, turn = _christoffel(point, velocity, velocity, beta), _christoffel(point, velocity, moved, beta)
    terms = range(1, _TERMS)
    return sum((point[k] for k in terms), point[0]), sum((moved[k] for k in terms), moved[0])


def exp_by_lift(x: Matrix, u: Matrix, beta: float) -> Matrix:
    """The exponential of n x n matrices: ``e^s x`` (canonical), ``e^(u x^T - x u^T) x e^(-x^T u)`` (Euclidean)."""

    def exponential(a: Matrix) -> Matrix:
        return np.array(MP.expm(MP.matrix(a.tolist())).tolist(), dtype=object)

    along = x.T.dot(u)
    s = u.dot(x.T) - x.dot(u.T)
    if beta == 1.0:
        return exponential(s).dot(x).dot(exponential(-along))
    return exponential(s - x.dot(along).dot(x.T)).dot(x)


def logmap(x: Matrix, y: Matrix, guess: torch.Tensor, beta: float) -> Matrix:
    """The tangent vector near ``guess`` with ``exp_x(u) = y``: two Newton steps with a derivative by differences."""
    n, k = x.shape
    basis = [tangent(x, torch.eye(n * k, dtype=torch.float64)[i].reshape(n, k)) for i in range(n * k)]
    step = MP.mpf(10) ** -18
    u = tangent(x, guess)
    for _ in range(2):
        end = exp_by_lift(x, u, beta)
        columns = [((exp_by_lift(x, u + e * step, beta) - end) / step).reshape(-1) for e in basis]
        system = MP.matrix(np.stack(columns, 1).tolist())
        rest = MP.matrix((y - end).reshape(-1).tolist())
        # the directions span the tangent space more than once: the least solution in all of them
        normal = system.T * system + MP.eye(n * k) * MP.mpf(10) ** -24
        weights = MP.lu_solve(normal, system.T * rest)
        u = u + sum(e * w for e, w in zip(basis, weights, strict=True))
    return u
