"""The linear map of spherical features."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SphericalLinear(nn.Module):
    r"""Mix the channels of each degree, ``y[lm] = x[lm] W_l``, with a bias on the scalars.

    By Schur's lemma this is every linear map that commutes with rotations. It keeps parity. Weights are drawn from
    ``N(0, 1 / channels_in)``, so that entries of variance 1 keep it.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        lmax: The highest degree.
        bias: Whether a bias is added to degree 0. Pseudoscalars must have none, as they change their sign.

    Source: Thomas et al. 2018, Tensor field networks, section 4.1.3 (self-interaction).
    """

    def __init__(self, channels_in: int, channels_out: int, lmax: int, bias: bool = True) -> None:
        super().__init__()
        if min(channels_in, channels_out) < 1 or lmax < 0:
            raise ValueError(
                f"SphericalLinear: expected positive channels and lmax >= 0, but got channels_in={channels_in}, "
                f"channels_out={channels_out} and lmax={lmax}."
            )
        self.channels_in, self.channels_out, self.lmax = channels_in, channels_out, lmax
        self.weight = nn.Parameter(torch.randn(lmax + 1, channels_in, channels_out) / channels_in**0.5)
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None

    def forward(self, x: Float[Tensor, "*n size channels_in"]) -> Float[Tensor, "*n size channels_out"]:
        """Return the mixed feature."""
        blocks = x.split([2 * degree + 1 for degree in range(self.lmax + 1)], -2)
        mixed = [block @ weight for block, weight in zip(blocks, self.weight, strict=True)]
        if self.bias is not None:
            mixed[0] = mixed[0] + self.bias
        return torch.cat(mixed, -2)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.channels_in}, {self.channels_out}, lmax={self.lmax}, bias={self.bias is not None}"
