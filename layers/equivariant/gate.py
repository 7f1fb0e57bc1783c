"""The gate of spherical features."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu


class Gate(nn.Module):
    r"""Scale each degree by a sigmoid, ``y_l = sigmoid(g_l) x_l``, and pass the scalars through ``y_0 = silu(x_0)``.

    The gates ``g_l`` are scalars that a layer before gives beside the feature, one for each channel of each degree
    above 0. Parity is kept where ``x_0`` and the gates are true scalars, as those of natural parity are.

    Args:
        lmax: The highest degree.

    Source: Weiler et al. 2018, 3D steerable CNNs, section 4.3.
    """

    def __init__(self, lmax: int) -> None:
        super().__init__()
        if lmax < 0:
            raise ValueError(f"Gate: expected lmax >= 0, but got {lmax}.")
        self.lmax = lmax
        self.register_buffer("_degree", _gate_of_each_row(lmax), persistent=False)
        self._degree: Tensor

    def forward(
        self, x: Float[Tensor, "*n size channels"], gates: Float[Tensor, "*n lmax channels"]
    ) -> Float[Tensor, "*n size channels"]:
        """Return the gated feature; row ``l - 1`` of ``gates`` is that of degree l."""
        scale = torch.sigmoid(gates).index_select(-2, self._degree)
        return torch.cat([silu(x[..., :1, :]), x[..., 1:, :] * scale], -2)

    def extra_repr(self) -> str:
        """Return the highest degree."""
        return f"lmax={self.lmax}"


def _gate_of_each_row(lmax: int) -> Tensor:
    """Return the row of the gate, ``l - 1``, of each row above degree 0."""
    return torch.repeat_interleave(torch.arange(lmax), 2 * torch.arange(lmax) + 3)
