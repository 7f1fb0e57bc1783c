"""Euclidean space."""

import math
from typing import Any

import torch
from torch import Tensor

from isometry.manifolds._flat import FlatManifold
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import dot


class Euclidean(FlatManifold):
    r"""The space ``R^n`` with ``d(x, y) = |x - y|``.

    Args:
        dim: Dimension, at least 1.
    """

    def injectivity_radius(self) -> float:
        """Return infinity: the exponential map is a diffeomorphism."""
        return math.inf

    def point_residual(self, x: Tensor) -> Tensor:
        """Return 0 for finite points."""
        return (x - x).sum(-1)

    def projx(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x + u``."""
        return x + u

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y - x``."""
        return y - x

    def spatial(self, x: Tensor) -> Tensor:
        """Return ``x``: the limit of hyperbolic space as its curvature goes to 0."""
        return x

    def from_spatial(self, s: Tensor) -> Tensor:
        """Return ``s``."""
        return s

    def centroid(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return ``sum_i w_i x_i / sum_i w_i`` over the last batch dimension."""
        self.check_shape(x)
        return self._centroid(x, (x.new_ones(x.shape[-2]) if weights is None else weights).unsqueeze(-1))

    @full_precision
    def _centroid(self, x: Tensor, w: Tensor) -> Tensor:
        return (w * x).sum(-2) / w.sum(-2)

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return draws of the standard normal."""
        return torch.randn(self._size(size), generator=generator, dtype=dtype, device=device)

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> tuple[Tensor, Tensor]:
        """Return a rotation (or reflection) and the translation that follows."""
        return random_orthogonal(self.dim, generator, dtype), self.random(self.dim, generator=generator, dtype=dtype)

    @full_precision
    def heat_kernel_log_prob(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return ``-|x - y|^2/(2t) - n/2 log(2 pi t)``."""
        delta = y - x
        return -dot(delta, delta, keepdim=False) / (2 * t) - self.dim / 2 * (2 * math.pi * t).log()

    def volume(self) -> float:
        """Return infinity."""
        return math.inf
