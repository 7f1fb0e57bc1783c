"""The distortion loss."""

from jaxtyping import Float
from torch import Tensor, nn


class DistortionLoss(nn.Module):
    r"""Relative error of squared distances, ``|(d / d_G)^2 - 1|``, averaged over the batch.

    Source: Gu, Sala, Gunel & Re 2019, equation 2.
    """

    def forward(self, dist: Float[Tensor, "*b m"], target: Float[Tensor, "*b m"]) -> Float[Tensor, ""]:
        """Return the loss of embedded distances against positive graph distances ``target``."""
        return ((dist / target).square() - 1).abs().mean()
