"""The Grassmann manifold in 60-digit arithmetic: subspaces as orthogonal projectors, by the matrix exponential.

In the projector picture a point is ``P = x x^T`` and a tangent vector ``D = u x^T + x u^T``; the geodesic is
``e^(tW) P e^(-tW)`` with ``W = [D, P]``, and so is the parallel transport of another vector. It shares no formula with
the library, which works with frames. The logarithm is the textbook one on principal vectors.

Source: Bendokat, Zimmermann & Absil 2024, sections 2.3, 3.3 and 3.4; Bjoerck & Golub 1973, theorem 1.
"""

from typing import Any

import torch
from mpmath import MPContext

MP = MPContext()  # a context of our own: the precision of other users of mpmath stays as it is
MP.dps = 60

Matrix = Any  # mpmath has no type stubs


def matrix(x: torch.Tensor) -> Matrix:
    """The given floats, exactly."""
    return MP.matrix(x.tolist())


def floats(x: Matrix) -> torch.Tensor:
    """The nearest floats."""
    return torch.tensor([[float(value) for value in row] for row in x.tolist()], dtype=torch.float64)


def frame(x: torch.Tensor) -> Matrix:
    """The frame ``x (x^T x)^(-1/2)``, orthonormal to all digits, nearest to the floats x."""
    exact = matrix(x)
    values, vectors = MP.eigsy(exact.T * exact)
    return exact * vectors * MP.diag([1 / MP.sqrt(v) for v in values]) * vectors.T


def tangent(x: Matrix, u: torch.Tensor) -> Matrix:
    """The horizontal vector at x nearest to the floats u."""
    exact = matrix(u)
    return exact - x * (x.T * exact)


def principal_angles(x: Matrix, y: Matrix) -> list[Any]:
    """The angles whose cosines are the singular values of ``x^T y``, ascending; those of its Gram matrix suffice."""
    cosines = MP.svd_r(x.T * y, compute_uv=False)
    return sorted(MP.acos(min(c, MP.mpf(1))) for c in cosines)


def dist(x: Matrix, y: Matrix) -> Any:
    """``sqrt(sum_i t_i^2)``."""
    return MP.sqrt(sum(t**2 for t in principal_angles(x, y)))


def logmap(x: Matrix, y: Matrix) -> Matrix:
    """``sum_i t_i (b_i - a_i cos t_i)/sin t_i q_i^T`` over the principal vectors ``a_i = x q_i``, ``b_i = y r_i``."""
    q, cosines, r_transposed = MP.svd_r(x.T * y)
    a, b = x * q, y * r_transposed.T
    total = x * 0
    for i, c in enumerate(cosines):
        across = b[:, i] - a[:, i] * c
        length = MP.norm(across)
        if length > MP.mpf(10) ** -50:
            total += across * (MP.atan2(length, c) / length) * q[:, i].T
    return total


def _rotation(x: Matrix, u: Matrix) -> Matrix:
    """``e^[D, P]``, the rotation of the whole space that carries the geodesic."""
    projector, vector = x * x.T, u * x.T + x * u.T
    return MP.expm(vector * projector - projector * vector)


def expmap(x: Matrix, u: Matrix) -> Matrix:
    """The frame of the geodesic's end that is carried along from x."""
    return _rotation(x, u) * x


def transp_follow_expmap(x: Matrix, u: Matrix, v: Matrix) -> Matrix:
    """``v`` transported along the geodesic, at the frame that ``expmap`` returns."""
    return _rotation(x, u) * v
