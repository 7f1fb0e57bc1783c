"""Nonlinear functions of points."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.hyperbolic._hyperboloid import Space, SpaceLayer, curvature, exp_spatial, log_spatial
from isometry.manifolds._precision import full_precision


class Activation(SpaceLayer):
    r"""A function of the tangent space at the origin o: ``exp_o(f(log_o x))``, coordinate by coordinate.

    Coordinates are those of an orthonormal frame, in which both models agree. With ``out`` of another curvature it is
    also the step from one curvature to the next.

    Args:
        manifold: Where the points lie.
        function: f, such as ``nn.ReLU()``, of as many coordinates as it takes.
        out: Where the output lies, of the same dimension; ``manifold`` by default.

    Raises:
        ValueError: If the dimensions differ, or a manifold has no constant curvature of at most 0.

    Source: Chami et al. 2019, Hyperbolic graph convolutional neural networks.
    """

    def __init__(
        self, manifold: Space, function: Callable[[Tensor], Tensor] | nn.Module, out: Space | None = None
    ) -> None:
        super().__init__(manifold, out or manifold)
        if self.out.dim != manifold.dim:
            raise ValueError(f"Activation: expected the output's dimension {manifold.dim}, but got out={out!r}.")
        self.function = function

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``: squares of coordinates overflow in a smaller one."""
        return self.manifold.compute_dtype(dtype)

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        """Return points of ``out`` for points of ``manifold``."""
        return self.out.from_spatial(self._image(self._spatial(x)))

    @full_precision
    def _image(self, s: Tensor) -> Tensor:
        return exp_spatial(self.function(log_spatial(s, curvature(self.manifold))), curvature(self.out))
