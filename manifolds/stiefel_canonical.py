"""The Stiefel manifold with its canonical metric."""

import math

from torch import Tensor

from isometry.manifolds._polar import tightened
from isometry.manifolds._precision import full_precision
from isometry.manifolds._stiefel import Stiefel
from isometry.manifolds.stiefel_retractions import cayley_retraction


class StiefelCanonical(Stiefel):
    r"""The orthonormal frames ``x [n, k]`` of ``R^n`` with ``<u, v> = tr(u^T (1 - x x^T/2) v)``.

    It is the metric of the quotient ``O(n)/O(n-k)``: a turn of the frame in its own span, ``x a`` in ``u = x a + w``,
    counts once for each pair of columns, half as much as in the Euclidean metric. Geodesics are ``exp(s) x``, s skew.

    Accuracy: exp, log, distance and transport within some units in the last place within the injectivity
    radius, relative to their own size for close pairs. Beyond it, ``logmap`` returns a geodesic that need not be the
    shortest, and NaN in the rare case that the iteration finds none. Derivatives are exact to the second order.

    Args:
        n: Number of rows, at least 2.
        k: Number of columns, ``1 <= k < n``. The cost of a log grows as ``k^6``, that of all else as ``n k^2``.

    Source: Edelman, Arias & Smith 1998; logarithm: Zimmermann & Hueper 2022.
    """

    beta = 0.5

    def injectivity_radius(self) -> float:
        """Return ``2 pi/sqrt(5) = 0.894 pi``, a lower bound (the radius is at most 0.914 pi); pi for unit vectors.

        Source: Rentmeesters 2013, section 5; upper bound: Absil & Mataigne 2024.
        """
        return math.pi if self.k == 1 else 2 * math.pi / math.sqrt(5)

    @full_precision
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the Cayley retraction, of second order for this metric, made orthonormal against drift."""
        return tightened(cayley_retraction(x, u))
