"""The rotation group SO(n)."""

import math

from torch import Tensor
from typing_extensions import Self

from isometry.manifolds import _rotation
from isometry.manifolds._matrix_group import MatrixGroup
from isometry.manifolds._precision import full_precision
from isometry.manifolds._unitary import above, nearest, skew_from


class SpecialOrthogonal(MatrixGroup):
    r"""The rotations ``x [n, n]`` of ``R^n``: ``x^T x = 1``, ``det x = 1``, with the metric ``<u, v> = tr(u^T v)``.

    The metric is that of the entries (the Frobenius norm) and of pymanopt, in which a rotation of a plane by the
    angle t has length ``sqrt(2) t``. ``Scaled(SpecialOrthogonal(n), 1/sqrt(2))`` measures angles, as geomstats does. A
    tangent vector at ``x`` is the matrix ``u = x a`` with ``a`` skew. Left and right multiplication are isometries.

    Accuracy: exp, log, distance and transport within some units in the last place at all angles, relative to
    their own size for close pairs. At the cut locus (an angle of pi) the log is one of the shortest; where two angles
    tend to pi its error grows as 1 over ``2 pi`` minus their sum, the distance to the conjugate locus. Derivatives are
    exact up to the second order, at equal angles and at the identity.

    Args:
        n: Number of rows, at least 2; the intrinsic dimension is ``n(n-1)/2``.

    Source: Edelman, Arias & Smith 1998; Rodrigues 1840 and Shepperd 1978 for n = 3.
    """

    @property
    def dim(self) -> int:
        """The intrinsic dimension, ``n(n-1)/2``."""
        return self.n * (self.n - 1) // 2

    def with_dim(self, dim: int) -> Self:
        """Return the rotation group of ``dim = n(n-1)/2`` dimensions."""
        n = (1 + math.isqrt(8 * dim + 1)) // 2
        if dim < 1 or n * (n - 1) // 2 != dim:
            raise ValueError(
                f"SpecialOrthogonal: rotations of R^n have n(n-1)/2 = 1, 3, 6, 10, ... dimensions, but got dim={dim}. "
                f"The nearest sizes are n={n} and n={n + 1}."
            )
        return type(self)(n)

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return the nearest rotation."""
        return nearest(x)

    def _exp(self, a: Tensor) -> Tensor:
        return _rotation.exp(a) if self.n <= 3 else super()._exp(a)

    def _log(self, e: Tensor) -> Tensor:
        return _rotation.log(e) if self.n <= 3 else super()._log(e)

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return the skew matrix with ``z/sqrt(2)`` above the diagonal, row by row."""
        return skew_from(z / math.sqrt(2), self.n)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the entries above the diagonal times ``sqrt(2)``."""
        return above(u) * math.sqrt(2)
