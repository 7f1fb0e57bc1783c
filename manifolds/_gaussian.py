"""What the two geometries of diagonal normal distributions share: the points and their domain."""

import math
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from isometry.manifolds.base import Manifold


class Gaussian(Manifold):
    """Normal distributions of R^k with diagonal covariance; a point is ``[2, k]``: means, standard deviations > 0.

    Args:
        k: Number of variables, at least 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"{type(self).__name__}: expected at least one variable, but got k={k}.")
        self.k = k

    @property
    def dim(self) -> int:
        """Twice the number of variables."""
        return 2 * self.k

    @property
    def point_shape(self) -> tuple[int, ...]:
        """A row of means and a row of standard deviations."""
        return (2, self.k)

    def with_dim(self, dim: int) -> Self:
        """Return the same geometry with ``dim / 2`` variables.

        Raises:
            ValueError: If ``dim`` is odd.
        """
        if dim % 2:
            raise ValueError(f"{type(self).__name__}: expected an even dimension (2 per variable), but got dim={dim}.")
        return type(self)(dim // 2)

    def injectivity_radius(self) -> float:
        """Return infinity: the log inverts the exponential map wherever this has a value."""
        return math.inf

    def point_residual(self, x: Tensor) -> Tensor:
        """Return 0 if all standard deviations are positive, else infinity: the domain is open (NaN if one is)."""
        inside = (x[..., 1, :] > 0).all(-1)
        return torch.where(inside, 0, math.inf) + (x - x).sum((-2, -1))

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return 0 for finite vectors: every ``[2, k]`` is tangent."""
        return (u - u).sum((-2, -1))

    def projx(self, x: Tensor) -> Tensor:
        """Return the normal distribution of ``mu + sigma z``: a negative ``sigma`` loses its sign.

        0 becomes the least normal number of the format.
        """
        std = x[..., 1, :].abs()
        std = torch.where(std == 0, torch.finfo(x.dtype).tiny, std)
        return torch.stack([x[..., 0, :], std], -2)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u``: every ``[2, k]`` is tangent."""
        return u.expand(torch.broadcast_shapes(x.shape, u.shape))

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return standard normal distributions."""
        x = torch.zeros(self._size(size), dtype=dtype, device=device)
        x[..., 1, :] = 1
        return x
