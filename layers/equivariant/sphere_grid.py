"""Functions on the sphere, by their values on a grid."""

import math

import numpy as np
import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from isometry.layers.equivariant._constants import Constants
from isometry.layers.equivariant.spherical_harmonics import spherical_harmonics


def sphere_grid(degree: int) -> tuple[Float[Tensor, "p 3"], Float[Tensor, " p"]]:
    r"""Return points and weights in float64 with ``sum_p w_p f(n_p) = mean of f over the sphere`` for polynomials f.

    Gauss-Legendre latitudes about the polar axis y, equidistant longitudes from z to x. No point is a pole. For an odd
    degree the grid is its own mirror image, ``-n`` with every ``n``.

    Args:
        degree: The highest degree of polynomials that are averaged exactly.
    """
    cos, share = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(degree // 2 + 1))
    sin = (1 - cos * cos).sqrt()
    longitude = torch.from_numpy(np.arange(degree + 1) * (2 * math.pi / (degree + 1)))
    points = torch.stack(
        [
            sin[:, None] * longitude.sin(),
            cos[:, None].expand(-1, degree + 1),
            sin[:, None] * longitude.cos(),
        ],
        -1,
    )
    return points.flatten(0, 1), (share / (2 * (degree + 1))).repeat_interleave(degree + 1)


class SphereGrid(Constants):
    r"""Between coefficients and values, ``f(n_p) = sum_lm x_lm Y_lm(n_p)`` and ``x_lm = sum_p w_p f(n_p) Y_lm(n_p)``.

    The harmonics have mean square 1 (e3nn's "component"). The coefficients are exact for every polynomial f whose
    degree and ``lmax_out`` add up to at most ``degree``, such as a product of k features: ``k lmax_in``.

    Args:
        lmax_in: The highest degree of the coefficients that are evaluated.
        lmax_out: The highest degree of the coefficients that are computed from values.
        degree: The highest degree of polynomials that the grid averages exactly.

    Source: Gauss-Legendre quadrature; sampling on such grids as in Driscoll & Healy 1994.
    """

    def __init__(self, lmax_in: int, lmax_out: int, degree: int) -> None:
        super().__init__()
        if min(lmax_in, lmax_out, degree) < 0:
            raise ValueError(
                f"SphereGrid: expected degrees >= 0, but got lmax_in={lmax_in}, lmax_out={lmax_out}, degree={degree}."
            )
        self.lmax_in, self.lmax_out, self.degree = lmax_in, lmax_out, degree
        points, weights = sphere_grid(degree)
        self.register_constant("_synthesis", spherical_harmonics(points, lmax_in))
        self.register_constant("_slopes", _slopes(points, lmax_in).flatten(0, 1))
        self.register_constant("_analysis", spherical_harmonics(points, lmax_out).T * weights)
        self._synthesis: Tensor
        self._slopes: Tensor
        self._analysis: Tensor

    def values(self, x: Float[Tensor, "*n size channels"]) -> Float[Tensor, "*n p channels"]:
        """Return the values at the points of a feature, whose highest degree may be below ``lmax_in``."""
        return on_each(self._synthesis[:, : x.shape[-2]], x)

    def slopes(self, x: Float[Tensor, "*n size channels"]) -> tuple[Tensor, Tensor]:
        """Return the derivatives at the points to the east and to the north, each of the shape of the values.

        The two directions and the point form a right-handed frame.
        """
        east, north = on_each(self._slopes[:, : x.shape[-2]], x).chunk(2, -2)
        return east, north

    def coefficients(self, f: Float[Tensor, "*n p channels"]) -> Float[Tensor, "*n size channels"]:
        """Return the coefficients up to ``lmax_out`` of the function with values ``f``."""
        return on_each(self._analysis, f)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.lmax_in}, {self.lmax_out}, degree={self.degree}"


def on_each(matrix: Inexact[Tensor, "r s"], x: Inexact[Tensor, "*n s c"]) -> Inexact[Tensor, "*n r c"]:
    """Return ``matrix @ x[n]`` for all n, without the transposed copies that ``matmul`` makes of a batch."""
    return matrix.expand(*x.shape[:-2], -1, -1) @ x


def _slopes(points: Float[Tensor, "p 3"], lmax: int) -> Float[Tensor, "2 p size"]:
    """Return the derivatives of the harmonics to the east (of y, the north pole) and to the north."""
    x, _, z = points.unbind(-1)
    east = torch.stack([z, torch.zeros_like(z), -x], -1) / torch.hypot(x, z).unsqueeze(-1)
    directions = (east, torch.linalg.cross(points, east))
    return torch.stack(
        [torch.func.jvp(lambda p: spherical_harmonics(p, lmax), (points,), (direction,))[1] for direction in directions]
    )
