"""The unit sphere."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import asinhc_sqrt, cos_sqrt, dot, norm, safe_sqrt, sinc_sqrt
from isometry.manifolds.base import EmbeddedManifold, HomogeneousManifold


def half_chords(x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"]) -> tuple[Tensor, Tensor]:
    """Return ``sin^2(theta/2)`` and ``cos^2(theta/2)`` from the chords ``x - y`` and ``x + y``."""
    near, far = dot(x - y, x - y), dot(x + y, x + y)
    return near / (near + far), far / (near + far)


def dist(x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b 1"]:
    """Return ``theta = 2 atan2(|x - y|, |x + y|)``, with gradient 0 at coincident and at antipodal points."""
    sin2, cos2 = half_chords(x, y)
    return 2 * torch.atan2(safe_sqrt(sin2), safe_sqrt(cos2))


def dist2(x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b 1"]:
    """Return ``theta^2``, analytic in ``sin^2(theta/2)`` up to a right angle."""
    sin2, cos2 = half_chords(x, y)
    acute = sin2 <= cos2
    small = torch.where(acute, sin2, 0)
    return torch.where(acute, 4 * small * asinhc_sqrt(-small).square(), dist(x, y).square())


def logmap(x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b n"]:
    """Return ``theta p/|p|`` with ``p`` the part of ``y -+ x`` across ``x``: the sign for which nothing cancels.

    At exactly antipodal points, where every direction is minimizing, the one nearest the least coordinate of ``x``
    is returned, so that ``exp_x`` still leads to ``y``.
    """
    sin2, cos2 = half_chords(x, y)
    acute = sin2 <= cos2
    h = torch.where(acute, y - x, y + x)
    p = h - x * dot(x, h) / dot(x, x)
    small = torch.where(acute, sin2, 0)
    index = torch.arange(x.shape[-1], device=x.device)
    least = (index == x.detach().abs().argmin(-1, keepdim=True)).to(x.dtype)
    cut = ~acute & (dot(p, p) == 0)
    p = torch.where(cut, least - x * dot(x, least), p)
    length = norm(p, keepdim=True)
    obtuse_factor = dist(x, y) / torch.where(length > 0, length, 1)
    # theta/sin(theta), and p = sin(theta) times the unit direction
    return torch.where(acute, asinhc_sqrt(-small) / (1 - small).sqrt(), obtuse_factor) * p


def expmap(x: Float[Tensor, "*#b n"], u: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b n"]:
    """Return ``cos|u| x + sin|u|/|u| u``."""
    square = dot(u, u)
    return cos_sqrt(square) * x + sinc_sqrt(square) * u


def transp(x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"], v: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b n"]:
    """Return ``v - 2 <y, v>/|x + y|^2 (x + y)``; at antipodal points ``v`` itself."""
    total = x + y
    acute = dot(x, y) >= 0
    y_v = dot(torch.where(acute, y - x, total), v)
    square = dot(total, total)
    return v - 2 * y_v / torch.where(square > 0, square, 1) * total


class Sphere(EmbeddedManifold, HomogeneousManifold):
    r"""The sphere ``S^n = {x in R^(n+1) : |x| = 1}`` of curvature 1 (``Scaled`` gives another radius).

    Accuracy: distance, log and gradient within a few units in the last place from separations of 1e-8 to pi - 1e-8 in
    float64 (docs/accuracy.md). At the cut locus (antipodes) the distance is pi with gradient 0.

    Args:
        dim: Intrinsic dimension, at least 1; points have ``dim + 1`` coordinates.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"Sphere: expected an intrinsic dimension >= 1, but got dim={dim}.")
        self._dim = dim

    @property
    def dim(self) -> int:
        """The intrinsic dimension."""
        return self._dim

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are unit vectors of ``dim + 1`` coordinates."""
        return (self.dim + 1,)

    def with_dim(self, dim: int) -> Self:
        """Return the unit sphere of another dimension."""
        return type(self)(dim)

    def injectivity_radius(self) -> float:
        """Return pi."""
        return math.pi

    def point_residual(self, x: Tensor) -> Tensor:
        """Return ``| |x| - 1 |``."""
        return (norm(x) - 1).abs()

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``|<x, u>| / |u|``."""
        length = norm(u)
        return dot(x, u, keepdim=False).abs() / torch.where(length > 0, length, 1)

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return ``x/|x|`` (NaN at 0, which has no nearest point)."""
        return x / dot(x, x).sqrt()

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u - <x, u> x``."""
        return u - dot(x, u) * x

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return the Euclidean ``u.v``."""
        value = dot(u, u if v is None else v)
        value = value.expand(torch.broadcast_shapes(value.shape, (*x.shape[:-1], 1)))
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the angle between ``x`` and ``y``."""
        value = dist(x, y)
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the squared angle, analytic at ``x = y``."""
        value = dist2(x, y)
        return value if keepdim else value.squeeze(-1)

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``cos|u| x + sin|u|/|u| u``, normalised against drift."""
        y = expmap(x, u)
        return y / dot(y, y).sqrt()

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the initial velocity of the shorter great arc from ``x`` to ``y``."""
        return logmap(x, y)

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport along the shorter great arc."""
        return transp(x, y, v)

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the pole ``(1, 0, ..., 0)``."""
        x = torch.zeros(self._size(size), dtype=dtype, device=device)
        x[..., 0] = 1
        return x

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return uniformly distributed points."""
        return self.projx(torch.randn(self._size(size), generator=generator, dtype=dtype, device=device))

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return ``(0, z)``."""
        return torch.cat([torch.zeros_like(z[..., :1]), z], -1)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return ``u`` without its first coordinate."""
        return u[..., 1:]

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(n-1) log |sin|u|/|u||``."""
        return (self.dim - 1) * sinc_sqrt(self.inner(x, u)).abs().log()

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> Tensor:
        """Return an orthogonal matrix from the Haar measure."""
        return random_orthogonal(self.dim + 1, generator, dtype)

    @full_precision
    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """Return ``g x``."""
        return x @ g.mT
