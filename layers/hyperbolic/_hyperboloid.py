"""Both models of hyperbolic space, and flat space as their limit, in the spatial part s of points on the hyperboloid.

Any vector of R^n is the spatial part of one point. So affine maps, sums and elementwise functions of s are layers, in
which nothing can leave the manifold; the time ``t = sqrt(1 + c|s|^2)`` is derived where it is needed. Products are of
the input's format: their rounding is that of the weights. What cancels is computed in the manifold's own format.
"""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds import Euclidean, Lorentz, Manifold, PoincareBall
from isometry.manifolds._smooth import asinhc_sqrt, dot, sinhc_sqrt, with_value

Space: TypeAlias = PoincareBall | Lorentz | Euclidean
Curvature: TypeAlias = float | Float[Tensor, "1"]


def checked_space(manifold: Manifold, layer: nn.Module) -> Space:
    """Return the manifold, if it is one of the three."""
    if not isinstance(manifold, PoincareBall | Lorentz | Euclidean):
        raise ValueError(
            f"{type(layer).__name__}: expected a PoincareBall, a Lorentz or a Euclidean manifold, but got {manifold!r}."
        )
    return manifold


class SpaceLayer(FullPrecision):
    """A layer between spaces of constant curvature at most 0.

    Raises:
        ValueError: If a manifold is another one.
    """

    def __init__(self, manifold: Space, out: Space | None = None) -> None:
        super().__init__()
        self.manifold = checked_space(manifold, self)
        if out is not None:
            self.out = checked_space(out, self)

    def _spatial(self, x: Float[Tensor, "*b p"]) -> Float[Tensor, "*b n"]:
        """Return the spatial parts of points of the input's manifold."""
        self.manifold.check_shape(x)
        return self.manifold.spatial(x)


def linear_weight(
    rows: int, columns: int, dtype: torch.dtype | None, device: torch.device | str | None
) -> nn.Parameter:
    """Return a weight that starts as that of ``nn.Linear``."""
    bound = columns**-0.5
    return nn.Parameter(torch.empty(rows, columns, dtype=dtype, device=device).uniform_(-bound, bound))


def curvature(manifold: Space) -> Curvature:
    """Return c, 0 for flat space."""
    return 0.0 if isinstance(manifold, Euclidean) else manifold.c


def is_flat(c: Curvature) -> bool:
    """Return whether the space is Euclidean; a learned curvature is never 0."""
    return isinstance(c, float) and c == 0


def time_of(s: Float[Tensor, "*b n"], c: Curvature) -> Float[Tensor, "*b 1"]:
    """Return ``sqrt(1 + c|s|^2)``, which is ``sqrt(c) x_0``, in the format of ``s``."""
    return (1 + c * dot(s, s)).sqrt().to(s.dtype)


def asinh_c(x: Float[Tensor, "*b"], c: Curvature) -> Float[Tensor, "*b"]:
    """Return ``asinh(sqrt(c) x) / sqrt(c)``: the distance of a point from a plane at which its coordinate is x."""
    return x if is_flat(c) else (c**0.5 * x).asinh() / c**0.5


def sinh_c(x: Float[Tensor, "*b"], c: Curvature) -> Float[Tensor, "*b"]:
    """Return ``sinh(sqrt(c) x) / sqrt(c)``."""
    return x if is_flat(c) else (c**0.5 * x).sinh() / c**0.5


def log_spatial(s: Float[Tensor, "*b n"], c: Curvature) -> Float[Tensor, "*b n"]:
    """Return the coordinates of ``log_o x`` in an orthonormal frame: ``asinh(sqrt(c)|s|) s / (sqrt(c)|s|)``."""
    return s if is_flat(c) else (asinhc_sqrt(c * dot(s, s)) * s).to(s.dtype)


def exp_spatial(u: Float[Tensor, "*b n"], c: Curvature) -> Float[Tensor, "*b n"]:
    """Return the spatial part of ``exp_o u``: ``sinh(sqrt(c)|u|) u / (sqrt(c)|u|)``."""
    return u if is_flat(c) else (sinhc_sqrt(c * dot(u, u)) * u).to(u.dtype)


def normalised_sum(
    s: Float[Tensor, "*b n"], time: Float[Tensor, "*b 1"], total: Float[Tensor, "*#b 1"] | float, c: Curvature
) -> Float[Tensor, "*b n"]:
    r"""Return the spatial part of the centroid of points whose weighted sum is ``(time, s)``, ``total`` the weights'.

    It is ``s / sqrt(t^2 - c|s|^2)``. The root is at least ``total``, but cancels: in float64 it resolves what points
    stored in float32 do, up to radius 20; beyond, its bound is what rounding is not let across.
    """
    plain = time.square() - c * dot(s, s)
    bound = torch.as_tensor(total, dtype=s.dtype, device=s.device).square()
    return s / with_value(torch.maximum(plain, bound), plain).sqrt()


def dist2_from_product(product: Float[Tensor, "*b"], c: Curvature) -> Float[Tensor, "*b"]:
    r"""Return ``d(x, y)^2`` of ``product = (|s_x - s_y|^2 - |t_x - t_y|^2/c)/2 = (cosh(sqrt(c) d) - 1)/c``.

    However it was computed, rounding is not let below 0.
    """
    if is_flat(c):
        return 2 * product
    half = with_value(product.clamp_min(0), product)
    return 2 * half * asinhc_sqrt(c * half / 2).square()


def edge_dist2(x: Float[Tensor, "*b n"], y: Float[Tensor, "*b n"], c: Curvature) -> Float[Tensor, "*b"]:
    """Return ``d(x, y)^2`` of points given by their spatial parts; in float64 for float32 points up to radius 20."""
    delta = y - x
    lag2 = c * (dot(delta, x + y, keepdim=False) / (time_of(x, c) + time_of(y, c)).squeeze(-1)).square()
    return dist2_from_product((dot(delta, delta, keepdim=False) - lag2) / 2, c)
