"""The Stiefel manifold with the metric of the matrices around it."""

import math

from torch import Tensor

from isometry.manifolds._precision import full_precision
from isometry.manifolds._stiefel import Stiefel
from isometry.manifolds.base import EmbeddedManifold
from isometry.manifolds.stiefel_retractions import polar_retraction


class StiefelEuclidean(Stiefel, EmbeddedManifold):
    r"""The orthonormal frames ``x [n, k]`` of ``R^n`` with the Euclidean metric ``<u, v> = tr(u^T v)``.

    Geodesics are ``exp(u x^T - x u^T) x exp(-x^T u)``.

    Accuracy: exp, log, distance and transport within some units in the last place up to 0.98 of the injectivity
    radius, relative to their own size for close pairs. Beyond that, ``logmap`` returns a geodesic that need not be the
    shortest, and NaN where the iteration finds none. Derivatives are exact to the second order.

    Args:
        n: Number of rows, at least 2.
        k: Number of columns, ``1 <= k < n``. The cost of a log grows as ``k^6``, that of all else as ``n k^2``.

    Source: Edelman, Arias & Smith 1998, section 2.2; logarithm as for ``StiefelCanonical``.
    """

    beta = 1.0

    def injectivity_radius(self) -> float:
        """Return pi.

        Source: Zimmermann & Stoye 2024, The injectivity radius of the compact Stiefel manifold under the Euclidean
        metric.
        """
        return math.pi

    @full_precision
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the polar retraction, of second order for this metric."""
        return polar_retraction(x, u)
