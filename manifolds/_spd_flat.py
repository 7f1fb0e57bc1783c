"""What the flat geometries of symmetric matrices share: a chart in which the metric is that of R^d."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from isometry.manifolds._precision import full_precision
from isometry.manifolds._spd import symmetric_part
from isometry.manifolds.base import HeatKernelManifold, HomogeneousManifold


class Chart(ABC):
    """The chart ``phi`` at points ``x``: its value and differential, with what was decomposed to compute them.

    Coordinates are matrices ``[*b, n, n]`` of a linear space with the Frobenius inner product.
    """

    @abstractmethod
    def coordinates(self) -> Tensor:
        """Return ``phi(x)``."""

    @abstractmethod
    def push(self, u: Tensor) -> Tensor:
        """Return ``D phi(x)[u]``."""

    @abstractmethod
    def pull(self, w: Tensor) -> Tensor:
        """Return the symmetric ``u`` with ``D phi(x)[u] = w``."""

    @abstractmethod
    def pull_adjoint(self, g: Tensor) -> Tensor:
        """Return the ``w`` with ``<w, z> = <g, pull(z)>`` for all z."""

    @abstractmethod
    def to(self, other: Any) -> Tensor:
        """Return ``phi(other) - phi(x)``, to full relative accuracy where the points are close."""


class FlatInChart(HomogeneousManifold, HeatKernelManifold):
    """Symmetric matrices with the metric that makes a chart onto a Euclidean space an isometry.

    The chart also makes them a commutative group, ``phi(g x) = phi(g) + phi(x)``, whose translations are isometries.
    """

    @abstractmethod
    def _chart(self, x: Tensor) -> Chart:
        """Return the chart at the symmetric matrices ``x``."""

    @abstractmethod
    def _point(self, coordinates: Tensor) -> Tensor:
        """Return the point with the given coordinates."""

    @abstractmethod
    def _flat(self, z: Tensor) -> Tensor:
        """Return ``z [*b, d]`` as coordinates, isometrically."""

    @abstractmethod
    def _flattened(self, w: Tensor) -> Tensor:
        """Return the inverse of ``_flat``."""

    def _at(self, x: Tensor) -> Chart:
        return self._chart(symmetric_part(x))

    def injectivity_radius(self) -> float:
        """Return infinity: the exponential map is a diffeomorphism."""
        return math.inf

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``D phi^-1 (D phi^-1)^* sym(u)``."""
        at = self._at(x)
        return at.pull(at.pull_adjoint(symmetric_part(u)))

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return the Frobenius product of ``D phi(x)[u]`` and ``D phi(x)[v]``."""
        at = self._at(x)
        left = at.push(symmetric_part(u))
        right = left if v is None else at.push(symmetric_part(v))
        return (left * right).sum((-2, -1), keepdim=keepdim)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``|phi(x) - phi(y)|^2``, smooth at ``x = y``."""
        return self._at(x).to(self._at(y)).square().sum((-2, -1), keepdim=keepdim)

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``phi^-1(phi(x) + D phi(x)[u])``."""
        at = self._at(x)
        return self._point(at.coordinates() + at.push(symmetric_part(u)))

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``D phi(x)^-1[phi(y) - phi(x)]``."""
        at = self._at(x)
        return at.pull(at.to(self._at(y)))

    def geodesic(self, t: Tensor | float, x: Tensor, y: Tensor) -> Tensor:
        """Return ``phi^-1((1 - t) phi(x) + t phi(y))``."""
        return self._geodesic(torch.as_tensor(t, dtype=x.dtype, device=x.device), x, y)

    @full_precision
    def _geodesic(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        at = self._at(x)
        return self._point(at.coordinates() + t[..., None, None] * at.to(self._at(y)))

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return ``D phi(y)^-1[D phi(x)[v]]``."""
        return self._at(y).pull(self._at(x).push(symmetric_part(v)))

    def frechet_mean(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return ``phi^-1(sum_i w_i phi(x_i))`` over the last batch dimension, the weights divided by their sum."""
        self.check_shape(x)
        if x.ndim < 3 or x.shape[-3] == 0:
            raise ValueError(
                f"{self!r}.frechet_mean: expected points [*batch, k >= 1, *{self.point_shape}], got {tuple(x.shape)}."
            )
        return self._mean(x, x.new_ones(x.shape[-3]) if weights is None else weights)

    @full_precision
    def _mean(self, x: Tensor, weights: Tensor) -> Tensor:
        share = weights / weights.sum(-1, keepdim=True)
        return self._point((share[..., None, None] * self._at(x).coordinates()).sum(-3))

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return ``D phi(I)^-1`` of the coordinates ``z``."""
        return self._at(self.origin(*self.point_shape, dtype=z.dtype, device=z.device)).pull(self._flat(z))

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the coordinates of ``D phi(I)[u]``."""
        return self._flattened(self._at(self.origin(*self.point_shape, dtype=u.dtype, device=u.device)).push(u))

    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return 0: the space is flat."""
        return torch.zeros_like(self.inner(x, u))

    def random_isometry(self, generator: torch.Generator | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """Return the ``g`` of a translation, a draw of ``random``."""
        return self.random(*self.point_shape, generator=generator, dtype=dtype)

    @full_precision
    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """Return the product ``phi^-1(phi(g) + phi(x))`` of the group."""
        return self._point(self._at(g).coordinates() + self._at(x).coordinates())

    @full_precision
    def heat_kernel_log_prob(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return ``-(d^2/t + dim log(2 pi t))/2``, the log-density of a normal distribution in the chart."""
        return -(self.dist2(x, y) / t + self.dim * (2 * math.pi * t).log()) / 2

    @full_precision
    def sample_heat_kernel(self, t: Tensor, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return ``phi^-1(phi(x) + sqrt(t) z)`` with z standard normal."""
        shape = torch.broadcast_shapes(t.shape, x.shape[:-2])
        z = torch.randn(*shape, self.dim, generator=generator, dtype=x.dtype, device=x.device)
        return self._point(self._at(x).coordinates() + t.sqrt()[..., None, None] * self._flat(z))

    def volume(self) -> float:
        """Return infinity."""
        return math.inf
