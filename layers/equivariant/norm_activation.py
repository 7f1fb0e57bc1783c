"""An activation of the lengths of spherical features."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from isometry.layers.equivariant.layout import SphericalLayout


class NormActivation(nn.Module):
    r"""Apply an activation to the length of each degree and keep its direction, ``y_l = s(n_l + b_l) x_l / n_l``.

    ``n_l = sqrt(sum_m x_lm^2 + eps^2)`` per channel, so the map is smooth at 0. It suits both parities.

    Args:
        lmax: The highest degree.
        channels: Channels of the feature, each with a learned shift ``b_l``.
        activation: The function s of the length.
        eps: The length below which features count as zero, positive. At 0 the slope is ``s(eps + b) / eps``.

    Source: Thomas et al. 2018, Tensor field networks, section 4.1.4; Worrall et al. 2017, Harmonic networks.
    """

    def __init__(
        self, lmax: int, channels: int, activation: Callable[[Tensor], Tensor] = silu, eps: float = 1e-2
    ) -> None:
        super().__init__()
        if lmax < 0 or channels < 1 or not eps > 0:
            raise ValueError(
                "NormActivation: expected lmax >= 0, positive channels and a positive eps, but got "
                f"lmax={lmax}, channels={channels} and eps={eps}."
            )
        self.lmax, self.channels, self.eps = lmax, channels, eps
        self.activation = activation
        self.bias = nn.Parameter(torch.zeros(lmax + 1, channels))
        self.register_buffer("_degrees", SphericalLayout(lmax).degrees, persistent=False)
        self._degrees: Tensor

    def forward(self, x: Float[Tensor, "*n size channels"]) -> Float[Tensor, "*n size channels"]:
        """Return the feature with new lengths."""
        blocks = x.square().split([2 * degree + 1 for degree in range(self.lmax + 1)], -2)
        length = (torch.stack([block.sum(-2) for block in blocks], -2) + self.eps**2).sqrt()
        return x * (self.activation(length + self.bias) / length).index_select(-2, self._degrees)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"lmax={self.lmax}, channels={self.channels}, eps={self.eps}"
