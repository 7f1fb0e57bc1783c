"""What the two models of hyperbolic space share: dimension, curvature and the format they compute in."""

import copy
import math

import torch
from torch import Tensor, nn
from typing_extensions import Self

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
