"""Spherical harmonics as polynomials."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers.equivariant.edge_frame import unit_vectors


def spherical_harmonics(vec: Float[Tensor, "*n 3"], lmax: int, normalize: bool = True) -> Float[Tensor, "*n rows"]:
    r"""Return the real spherical harmonics up to degree ``lmax``, in the order of ``SphericalLayout``.

    ``Y_{l,m} = P_l^m(y) Re (z + i x)^m``, and the imaginary part for -m, where ``P_l^m`` is the normalised Legendre
    function without its factor ``(x^2 + z^2)^{m/2}``, by the recursion

        ``P_l^m = (y P_{l-1}^m - c_{l-1} r^2 P_{l-2}^m) / c_l``,   ``c_l = sqrt((l^2 - m^2) / (4 l^2 - 1))``,

    from ``P_m^m = sqrt((2 - [m = 0]) 3/2 5/4 ... (2 m + 1)/(2 m))``: ``sum_m Y_{l,m}^2 = 2 l + 1`` on the unit sphere,
    which is e3nn's normalization "component". They are polynomials, so every derivative is exact, at the poles too.

    Args:
        vec: Vectors of any length.
        lmax: The highest degree.
        normalize: Take the directions of the vectors (that of a vector 0 is the polar axis y). If not, the harmonics of
            degree l grow as ``|vec|^l``.

    Source: e3nn's conventions; the recursion is that of Holmes & Featherstone 2002, A unified approach to the Clenshaw
    summation and the recursive computation of very high degree and order normalised associated Legendre functions.
    """
    x, y, z = (unit_vectors(vec) if normalize else vec).unbind(-1)
    square = 1.0 if normalize else x * x + y * y + z * z
    columns: dict[int, Tensor] = {}
    cos, sin = torch.ones_like(x), torch.zeros_like(x)
    for m in range(lmax + 1):
        start = math.sqrt((2 if m else 1) * math.prod([1 + 1 / (2 * k) for k in range(1, m + 1)]))
        before, legendre = torch.zeros_like(y), torch.full_like(y, start)
        for degree in range(m, lmax + 1):
            if degree > m:
                lower, upper = (math.sqrt((n * n - m * m) / (4 * n * n - 1)) for n in (degree - 1, degree))
                before, legendre = legendre, (y * legendre - lower * square * before) / upper
            columns[degree * (degree + 1) + m] = legendre * cos
            if m > 0:
                columns[degree * (degree + 1) - m] = legendre * sin
        cos, sin = z * cos - x * sin, z * sin + x * cos
    return torch.stack([columns[row] for row in sorted(columns)], -1)
