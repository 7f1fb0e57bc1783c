"""Isometries between the models of hyperbolic space: the ball, the hyperboloid and the half-space.

All compute in float64 and return the format of their argument.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._precision import one_minus_square
from isometry.manifolds._smooth import dot
from isometry.manifolds.poincare_ball import Curvature, project


def poincare_to_lorentz(x: Float[Tensor, "*b n"], c: Curvature = 1.0) -> Float[Tensor, "*b m"]:
    r"""Return ``((1 + c|x|^2)/sqrt(c), 2 x) / (1 - c|x|^2)``, inverse stereographic projection.

    Args:
        x: Points of ``PoincareBall(n, c)``.
        c: Positive curvature parameter, the same for both models.

    Returns:
        Points of ``Lorentz(n, c)``, of n + 1 coordinates.

    Source: Ratcliffe, Foundations of Hyperbolic Manifolds, section 4.5.
    """
    wide = x.double()
    a = one_minus_square(wide, c)
    return (torch.cat([(2 - a) / c**0.5, 2 * wide], -1) / a).to(x.dtype)


def lorentz_to_poincare(x: Float[Tensor, "*b m"], c: Curvature = 1.0) -> Float[Tensor, "*b n"]:
    r"""Return ``x_s / (1 + sqrt(c) x_0)`` of the spatial part ``x_s``, stereographic projection.

    As everywhere, ``x_0`` is derived from the spatial part. A point farther out than the ball's format reaches ends at
    the last point inside.

    Args:
        x: Points of ``Lorentz(n, c)``, of n + 1 coordinates.
        c: Positive curvature parameter, the same for both models.

    Returns:
        Points of ``PoincareBall(n, c)``.

    Source: Ratcliffe, Foundations of Hyperbolic Manifolds, section 4.5.
    """
    s = x[..., 1:].double()
    time = (1 + c * dot(s, s)).sqrt()
    return project((s / (1 + time)).to(x.dtype), c)


def poincare_to_halfspace(x: Float[Tensor, "*b n"], c: Curvature = 1.0) -> Float[Tensor, "*b n"]:
    r"""Return ``(2 s', 1 - |s|^2) / |s - e_n|^2`` of ``s = sqrt(c) x``; ``s'`` is s without its last coordinate.

    The half-space ``{y : y_n > 0}`` carries the metric ``|dy|^2 / (c y_n^2)``. The centre of the ball goes to ``e_n``,
    the point ``e_n/sqrt(c)`` of its boundary to infinity.

    Args:
        x: Points of ``PoincareBall(n, c)``.
        c: Positive curvature parameter, the same for both models.

    Source: Ratcliffe, Foundations of Hyperbolic Manifolds, section 4.6.
    """
    wide = x.double()
    across, along = wide.split([x.shape[-1] - 1, 1], -1)
    root = c**0.5
    distance2 = c * dot(across, across) + (1 - root * along).square()
    return (torch.cat([2 * root * across, one_minus_square(wide, c)], -1) / distance2).to(x.dtype)


def halfspace_to_poincare(y: Float[Tensor, "*b n"], c: Curvature = 1.0) -> Float[Tensor, "*b n"]:
    r"""Return ``(2 y', |y|^2 - 1) / |y + e_n|^2 / sqrt(c)``, the inverse of ``poincare_to_halfspace``.

    A point farther out than the ball's format reaches ends at the last point inside.

    Args:
        y: Points of the half-space, ``y_n > 0``.
        c: Positive curvature parameter, the same for both models.

    Returns:
        Points of ``PoincareBall(n, c)``.

    Source: Ratcliffe, Foundations of Hyperbolic Manifolds, section 4.6.
    """
    wide = y.double()
    across, height = wide.split([y.shape[-1] - 1, 1], -1)
    square = dot(across, across)
    numerator = torch.cat([2 * across, square + (height - 1) * (height + 1)], -1)
    return project((numerator / (square + (1 + height).square()) / c**0.5).to(y.dtype), c)
