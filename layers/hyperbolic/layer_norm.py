"""Layer normalisation of points."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from isometry.layers.hyperbolic._hyperboloid import Space, SpaceLayer
from isometry.manifolds._precision import full_precision


class LayerNorm(SpaceLayer):
    r"""Layer normalisation of the hyperboloid's coordinates: a spatial part ``w (s - mean s) / sqrt(var s + eps) + b``.

    Time is derived of it. Outputs lie within ``asinh(sqrt(c)|s|)/sqrt(c)`` of the origin, ``|s|`` about the root of the
    dimension. It is one layer in both models, and ``nn.LayerNorm`` on ``Euclidean(n)``.

    Args:
        manifold: Where the points lie.
        eps: Added to the variance, positive.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If the manifold has no constant curvature of at most 0.

    Source: Yang et al. 2024, Hypformer: exploring efficient hyperbolic transformer fully in hyperbolic space.
    """

    def __init__(
        self,
        manifold: Space,
        *,
        eps: float = 1e-5,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(manifold)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(manifold.dim, dtype=dtype, device=device))
        self.bias = nn.Parameter(torch.zeros(manifold.dim, dtype=dtype, device=device))

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """Return the normalised points."""
        return self.manifold.from_spatial(self._image(self._spatial(x)))

    @full_precision
    def _image(self, s: Tensor) -> Tensor:
        return F.layer_norm(s, (self.manifold.dim,), self.weight.to(s.dtype), self.bias.to(s.dtype), self.eps)

    def extra_repr(self) -> str:
        """Return eps."""
        return f"eps={self.eps}"
