"""The link prediction loss."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers import FermiDirac


class LinkLoss(nn.Module):
    r"""Cross-entropy of link probabilities, ``-log P(d_0) - mean_j log(1 - P(d_j))``, averaged over the batch.

    Column 0 of the distances is a link, the others are sampled non-links.

    Args:
        decoder: Maps a distance to the logit of a link.

    Source: Nickel & Kiela 2017, section 4.2.
    """

    def __init__(self, decoder: FermiDirac) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, dist: Float[Tensor, "*b m"]) -> Float[Tensor, ""]:
        """Return the loss of distances whose first column is a link."""
        logit = self.decoder(dist)
        softplus = torch.nn.functional.softplus
        return (softplus(-logit[..., 0]) + softplus(logit[..., 1:]).mean(-1)).mean()
