"""Retractions of the Stiefel manifold: maps of tangent vectors to points that follow the geodesics at first.

Each takes points ``x [*b, n, k]`` with ``x^T x = 1`` and tangent vectors ``u`` (``x^T u`` skew), and returns points.
They agree with the geodesics to the first order; which one does so to the second order is said at each.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._forward_mode import solve
from isometry.manifolds._polar import polar_factor
from isometry.manifolds._stiefel_geodesics import generator


def qr_retraction(x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b n k"]:
    """Return the factor Q of ``x + u = Q R`` with positive diagonal of R, by Cholesky of ``(x + u)^T (x + u) >= 1``.

    Of the first order for both metrics.

    Source: Absil, Mahony & Sepulchre 2008, Optimization Algorithms on Matrix Manifolds, section 4.1.1.
    """
    y = x + u
    factor = torch.linalg.cholesky(y.mT @ y)
    return torch.linalg.solve_triangular(factor.mT, y, upper=True, left=False)


def polar_retraction(x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b n k"]:
    """Return the point nearest to ``x + u``, ``(x + u)(1 + u^T u)^(-1/2)``.

    Of the second order for the Euclidean metric.

    Source: Absil & Malick 2012, Projection-like retractions on matrix manifolds, proposition 7.
    """
    return polar_factor(x + u)


def cayley_retraction(x: Float[Tensor, "*#b n k"], u: Float[Tensor, "*#b n k"]) -> Float[Tensor, "*b n k"]:
    r"""Return ``(1 - s/2)^(-1) (1 + s/2) x`` with ``s = p x^T - x p^T``, ``p = u - x x^T u/2``, by a system of size 2k.

    Of the second order for the canonical metric, whose geodesic is ``exp(s) x``.

    Source: Wen & Yin 2013, A feasible method for optimization with orthogonality constraints, lemma 4.
    """
    px, m, _ = generator(x, u, 0.5)
    k = x.shape[-1]
    eye = torch.eye(2 * k, dtype=m.dtype, device=m.device)
    return px @ solve(eye - m / 2, (eye + m / 2)[..., k:])
