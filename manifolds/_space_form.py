"""What the two models of hyperbolic space share: dimension, curvature, format, and the hyperboloid's coordinates."""

import copy
import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from typing_extensions import Self

from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import dot, safe_sqrt, with_value
from isometry.manifolds.base import HomogeneousManifold


class HyperbolicManifold(HomogeneousManifold):
    r"""Hyperbolic space of constant sectional curvature ``-c``.

    Args:
        dim: Intrinsic dimension, at least 1.
        c: Positive curvature parameter.
        learnable: Make the curvature a parameter ``log_c`` of shape (1,), with ``c = exp(log_c)`` positive by
            construction. isometry's optimizers keep points fixed in unit-curvature coordinates when ``c`` moves.
        upcast: Compute in float64 whatever the input (default). ``False`` computes float32 in float32: faster,
            with errors that grow as ``eps e^r`` at hyperbolic radius r.
    """

    def __init__(self, dim: int, c: float = 1.0, learnable: bool = False, upcast: bool = True) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"{type(self).__name__}: expected an intrinsic dimension >= 1, but got dim={dim}.")
        if not (math.isfinite(c) and c > 0):
            raise ValueError(
                f"{type(self).__name__}: expected a positive curvature parameter c (the sectional curvature is -c), "
                f"but got c={c}. For flat space use Euclidean, for positive curvature Sphere."
            )
        self._dim = dim
        self.learnable = learnable
        self.upcast = upcast
        self.log_c: nn.Parameter | None = nn.Parameter(torch.tensor([math.log(c)])) if learnable else None
        self._c = float(c)

    @property
    def dim(self) -> int:
        """The intrinsic dimension."""
        return self._dim

    @property
    def c(self) -> float | Tensor:
        """The curvature parameter: a float, or a tensor of shape (1,) where it is learnable."""
        if self.log_c is None:
            return self._c
        # In the format that the geometry is computed in, so that every use of c, such as sqrt(c), is exact there.
        return (self.log_c.double() if self.upcast else self.log_c).exp()

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return float64 with ``upcast``, else float32 at least."""
        return torch.float64 if self.upcast else super().compute_dtype(dtype)

    def injectivity_radius(self) -> float:
        """Return infinity: the exponential map is a diffeomorphism."""
        return math.inf

    def with_dim(self, dim: int) -> Self:
        """Return the same geometry in another dimension; a learnable curvature is shared."""
        other = copy.copy(self)
        other._parameters = dict(self._parameters)  # the parameter is shared, the record of it is not
        other._dim = dim
        return other

    def rescale(self, x: Tensor, c_old: float | Tensor) -> Tensor:
        """Return ``x`` moved from curvature ``-c_old`` to the present one, fixed in unit-curvature coordinates."""
        return self.projx((x * (c_old / self.c) ** 0.5).to(x.dtype))  # rounding may cross the ball's boundary

    @abstractmethod
    def spatial(self, x: Tensor) -> Tensor:
        """Return the spatial part s of the points on the hyperboloid, ``[*b, dim]``: any vector is that of one point.

        Both models have the same, and ``s -> log_o x`` as ``c -> 0``, in an orthonormal frame at the origin o.
        """

    @abstractmethod
    def from_spatial(self, s: Tensor) -> Tensor:
        """Return the points whose spatial part on the hyperboloid is ``s``, the inverse of ``spatial``."""

    def centroid(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        r"""Return ``v / (sqrt(c) |v|_L)`` with ``v = sum_i w_i x_i`` on the hyperboloid, over the last batch dimension.

        It minimises ``sum_i w_i (cosh(sqrt(c) d(mu, x_i)) - 1)``, and is the midpoint in Einstein's and in Moebius's
        gyrovector space, too. Isometries carry it along.

        Args:
            x: Points ``[*b, n, *point_shape]``.
            weights: Non-negative ``[*b, n]``, of positive sum; uniform if omitted.

        Source: Law, Liao, Snell & Zemel 2019, theorem 3.2; as gyromidpoint Ungar 2008; Shimizu, Mukuta & Harada 2021.
        """
        self.check_shape(x)
        w = x.new_ones(x.shape[-2]) if weights is None else weights
        return self.from_spatial(self._centroid(self.spatial(x), w.unsqueeze(-1)))

    @full_precision
    def _centroid(self, s: Tensor, w: Tensor) -> Tensor:
        w = w / w.sum(-2, keepdim=True)
        time = (1 + self.c * dot(s, s)).sqrt()
        mean, mean_time = (w * s).sum(-2), (w * time).sum(-2)
        plain = mean_time.square() - self.c * dot(mean, mean)
        return mean / with_value(self._mass2(s, time, mean, mean_time, w), plain).sqrt()

    @torch.no_grad()
    def _mass2(self, s: Tensor, time: Tensor, mean: Tensor, mean_time: Tensor, w: Tensor) -> Tensor:
        """Return ``t^2 - c|m|^2`` of the means as ``(t + sqrt(c)|m|) sum_i w_i (t_i - p_i)``, ``p_i`` along m.

        ``t_i - p_i = (1 + c |across|^2) / (t_i + p_i)`` does not cancel.
        """
        length = safe_sqrt(dot(mean, mean))
        ahead = (mean / torch.where(length > 0, length, 1)).unsqueeze(-2)
        along = dot(s, ahead)
        across, p = s - along * ahead, self.c**0.5 * along
        lag = torch.where(p > 0, (1 + self.c * dot(across, across)) / (time + p), time - p)
        return (mean_time + self.c**0.5 * length) * (w * lag).sum(-2)
