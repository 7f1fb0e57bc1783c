"""Normalisation of spherical features by their size over degrees, orders and channels."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from isometry.layers._full_precision import FullPrecision
from isometry.layers.equivariant._constants import Constants
from isometry.layers.equivariant.layout import SphericalLayout
from isometry.manifolds._precision import full_precision


class _DegreeScale(FullPrecision, Constants):
    """What the two norms share: a scale for each degree and channel, a shift of the scalars, and balanced averages."""

    def __init__(self, lmax: int, channels: int, eps: float) -> None:
        super().__init__()
        if lmax < 0 or channels < 1 or not eps > 0:
            raise ValueError(
                f"{type(self).__name__}: expected lmax >= 0, positive channels and a positive eps, but got "
                f"lmax={lmax}, channels={channels} and eps={eps}."
            )
        self.lmax, self.channels, self.eps = lmax, channels, eps
        self.weight = nn.Parameter(torch.ones(lmax + 1, channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        degrees = SphericalLayout(lmax).degrees
        self.register_buffer("_degrees", degrees, persistent=False)
        self._degrees: Tensor
        self.register_constant("_share", 1 / (2 * degrees.double() + 1))
        self._share: Tensor

    def _normalised(self, x: Tensor, share: Tensor, degrees: Tensor) -> Tensor:
        """Return the rows ``x`` over their root mean square, each degree counted alike, times the learned scale."""
        size = (x.square().mean(-1) @ (share / share.sum())).add(self.eps).rsqrt()
        return x * size[..., None, None] * self.weight[degrees]

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"lmax={self.lmax}, channels={self.channels}, eps={self.eps}"


class SphericalRMSNorm(_DegreeScale):
    r"""Divide by the root mean square of all degrees, ``y_lm = w_l x_lm / sqrt(eps + mean_l mean_m mean_c x_lmc^2)``.

    The scalars are centred over the channels first and shifted by a bias at the end. Each degree has the same share of
    the mean whatever its number of orders.

    Args:
        lmax: The highest degree.
        channels: Channels of the feature, of natural parity.
        eps: Added to the mean square; keeps derivatives finite at 0.

    Source: Zhang & Sennrich 2019, Root mean square layer normalization; over degrees as in Fu et al. 2025 (eSEN).
    """

    def __init__(self, lmax: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__(lmax, channels, eps)

    @full_precision
    def forward(self, x: Float[Tensor, "*n size channels"]) -> Float[Tensor, "*n size channels"]:
        """Return the normalised feature."""
        scalars = x[..., :1, :]
        centred = torch.cat([scalars - scalars.mean(-1, keepdim=True), x[..., 1:, :]], -2)
        y = self._normalised(centred, self._share, self._degrees)
        return torch.cat([y[..., :1, :] + self.bias, y[..., 1:, :]], -2)


class SphericalLayerNorm(_DegreeScale):
    r"""Apply layer normalisation to the scalars, and to the rest ``y_lm = w_l x_lm / sqrt(eps + mean_(l>0) x_lmc^2)``.

    The degrees above 0 share one mean square, in which each counts alike: their relative sizes are kept, and those of
    the scalars to the rest are not.

    Args:
        lmax: The highest degree.
        channels: Channels of the feature, of natural parity.
        eps: Added to variances and mean squares; keeps derivatives finite at 0.

    Source: Liao et al. 2023, EquiformerV2, section 4.3 (separable layer normalisation).
    """

    def __init__(self, lmax: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__(lmax, channels, eps)

    @full_precision
    def forward(self, x: Float[Tensor, "*n size channels"]) -> Float[Tensor, "*n size channels"]:
        """Return the normalised feature."""
        scalars = layer_norm(x[..., :1, :], (self.channels,), self.weight[0], self.bias, self.eps)
        if self.lmax == 0:
            return scalars
        return torch.cat([scalars, self._normalised(x[..., 1:, :], self._share[1:], self._degrees[1:])], -2)
