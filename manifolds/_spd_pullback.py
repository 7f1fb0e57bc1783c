"""Geometries of positive definite matrices that are another one, seen through a diffeomorphism."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from isometry.manifolds._precision import full_precision
from isometry.manifolds._spd import SPD, symmetric_part
from isometry.manifolds._spd_flat import Chart


class RefinedSPD(SPD):
    """Positive definite matrices with a geometry that takes ``y - x`` apart, to more digits than the points show."""

    @abstractmethod
    def dist2_given(self, x: Tensor, y: Tensor, gap: Tensor) -> Tensor:
        """Return the squared distance of ``x`` and ``y = x + gap``, shape = batch."""

    @abstractmethod
    def logmap_given(self, x: Tensor, y: Tensor, gap: Tensor) -> Tensor:
        """Return ``log_x(y)`` with ``y = x + gap``."""


class PullBack(SPD):
    r"""Positive definite matrices with the metric ``s^2 <D phi[u], D phi[v]>_(phi(x))`` of another geometry of them.

    Geodesics, exp, log, transport and means are those of the other, carried back by the diffeomorphism phi; distances
    are ``s`` times those of the images.

    Args:
        manifold: The geometry of the images.
        scale: The factor ``s > 0``.
    """

    def __init__(self, manifold: SPD, scale: float = 1.0) -> None:
        super().__init__(manifold.n, manifold.upcast)
        self.manifold = manifold
        self.parallel = manifold.parallel
        self.scale = scale

    @abstractmethod
    def _chart(self, x: Tensor) -> Chart:
        """Return phi at the symmetric matrices ``x``."""

    @abstractmethod
    def from_image(self, coordinates: Tensor) -> Tensor:
        """Return ``phi^-1``."""

    def chart_at(self, x: Tensor) -> Chart:
        """Return phi at the symmetric part of ``x``."""
        return self._chart(symmetric_part(x))

    def injectivity_radius(self) -> float:
        """Return ``s`` times that of the other geometry."""
        return self.scale * self.manifold.injectivity_radius()

    def domain_margin(self, x: Tensor, u: Tensor) -> Tensor:
        """Return how far ``exp_x(u)`` is from where geodesics end: positive inside; infinity where they never end."""
        if not hasattr(self.manifold, "domain_margin"):
            return torch.full_like(self.inner(x, u), torch.inf)
        return self._domain_margin(x, u)

    @full_precision
    def _domain_margin(self, x: Tensor, u: Tensor) -> Tensor:
        at = self.chart_at(x)
        return self.manifold.domain_margin(at.coordinates(), at.push(symmetric_part(u)))

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the gradient at ``phi(x)`` of the function there, carried back, over ``s^2``."""
        at = self.chart_at(x)
        gradient = self.manifold.egrad2rgrad(at.coordinates(), at.pull_adjoint(symmetric_part(u)))
        return at.pull(gradient) / self.scale**2

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``s^2 <D phi(x)[u], D phi(x)[v]>_(phi(x))``."""
        at = self.chart_at(x)
        image = None if v is None else at.push(symmetric_part(v))
        return self.scale**2 * self.manifold.inner(at.coordinates(), at.push(symmetric_part(u)), image, keepdim=keepdim)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``s^2 d(phi(x), phi(y))^2``."""
        here, there = self.chart_at(x), self.chart_at(y)
        if isinstance(self.manifold, RefinedSPD):
            value = self.manifold.dist2_given(here.coordinates(), there.coordinates(), here.to(there))
            value = value[..., None, None] if keepdim else value
        else:
            value = self.manifold.dist2(here.coordinates(), there.coordinates(), keepdim=keepdim)
        return self.scale**2 * value

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``phi^-1(exp_(phi(x))(D phi(x)[u]))``."""
        at = self.chart_at(x)
        return self.from_image(self.manifold.expmap(at.coordinates(), at.push(symmetric_part(u))))

    @full_precision
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the other geometry's retraction, carried back."""
        at = self.chart_at(x)
        return self.from_image(self.manifold.retr(at.coordinates(), at.push(symmetric_part(u))))

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``D phi(x)^-1[log_(phi(x))(phi(y))]``."""
        here, there = self.chart_at(x), self.chart_at(y)
        if isinstance(self.manifold, RefinedSPD):
            return here.pull(self.manifold.logmap_given(here.coordinates(), there.coordinates(), here.to(there)))
        return here.pull(self.manifold.logmap(here.coordinates(), there.coordinates()))

    def geodesic(self, t: Tensor | float, x: Tensor, y: Tensor) -> Tensor:
        """Return ``phi^-1`` of the geodesic between the images."""
        return self._geodesic(torch.as_tensor(t, dtype=x.dtype, device=x.device), x, y)

    @full_precision
    def _geodesic(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return self.from_image(
            self.manifold.geodesic(t, self.chart_at(x).coordinates(), self.chart_at(y).coordinates())
        )

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return ``D phi(y)^-1`` of the transport between the images."""
        here, there = self.chart_at(x), self.chart_at(y)
        moved = self.manifold.transp(here.coordinates(), there.coordinates(), here.push(symmetric_part(v)))
        return there.pull(moved)

    @full_precision
    def transp_to_origin(self, x: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported to the base point, as the other geometry transports to its own."""
        at = self.chart_at(x)
        moved = self.manifold.transp_to_origin(at.coordinates(), at.push(symmetric_part(v)))
        return self._chart(self._origin(x)).pull(moved)

    @full_precision
    def transp_from_origin(self, y: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported from the base point, as the other geometry transports from its own."""
        at = self.chart_at(y)
        return at.pull(self.manifold.transp_from_origin(at.coordinates(), self._chart(self._origin(y)).push(v)))

    def frechet_mean(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return ``phi^-1`` of the images' mean."""
        self.check_shape(x)
        return self._mean(x, weights)

    @full_precision
    def _mean(self, x: Tensor, weights: Tensor | None) -> Tensor:
        return self.from_image(self.manifold.frechet_mean(self.chart_at(x).coordinates(), weights))

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return ``phi^-1`` of the other geometry's base point."""
        shape, x = self._size(size), torch.empty(0, dtype=dtype, device=device)
        return self._origin(x.to(self.compute_dtype(x.dtype))).to(x.dtype).expand(shape).clone()

    def _origin(self, like: Tensor) -> Tensor:
        return self.from_image(self.manifold.origin(self.n, self.n, dtype=like.dtype, device=like.device))
