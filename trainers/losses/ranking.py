"""The ranking loss of Poincare embeddings."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RankingLoss(nn.Module):
    r"""Softmax over sampled negatives: ``-log(exp(-d_0) / sum_j exp(-d_j))``, averaged over the batch.

    Column 0 of the distances is the true relation, the others are negatives.

    Source: Nickel & Kiela 2017, equation 5.
    """

    def forward(self, dist: Float[Tensor, "*b m"]) -> Float[Tensor, ""]:
        """Return the loss of distances whose first column is the true relation."""
        return (dist[..., 0] + torch.logsumexp(-dist, -1)).mean()
