"""The contrastive loss of retrieval."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class InfoNCE(nn.Module):
    r"""Softmax over documents, ``-log(exp(s_ii/tau) / sum_j exp(s_ij/tau))``, averaged over queries i.

    ``s_ij`` scores document j for query i, and document i is the one that answers query i: its negatives are those of
    the other queries and further ones, such as hard negatives. For normal distributions ``s = -gaussian_kl(q, d)``.

    Args:
        temperature: The positive tau, in units of the score.

    Source: van den Oord, Li & Vinyals 2018, equation 4; with the divergence as score Zamani & Bendersky 2023.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"InfoNCE: expected a positive temperature, but got {temperature}.")
        self.temperature = temperature

    def forward(self, scores: Float[Tensor, "q d"]) -> Float[Tensor, ""]:
        """Return the loss of the scores ``[q, d]`` of d >= q documents, of which number i answers query i."""
        queries, documents = scores.shape
        if documents < queries:
            raise ValueError(f"InfoNCE: expected a document for each of {queries} queries, but got {documents}.")
        return nn.functional.cross_entropy(scores / self.temperature, torch.arange(queries, device=scores.device))
