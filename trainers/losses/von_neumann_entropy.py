"""The von Neumann entropy of a representation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.cosine_classifier import direction


def von_neumann_entropy(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    r"""Return ``S = -sum_i l_i log l_i`` over the eigenvalues of ``rho = 1/n sum h h^T/|h|^2``; 0 log 0 is 0.

    Between 0, where all samples lie on a line, and ``log min(n, d)``, where they are as isotropic as can be: ``exp(S)``
    is the effective rank. The gradient, ``-2/n (log rho + I) z`` in the direction z of a sample, is exact for equal
    eigenvalues too, and finite for zero ones, where no sample has a component. A second one needs distinct eigenvalues.

    Args:
        features: One row per sample; a row of zeros, which has no direction, adds nothing to the sum.

    Source: Kim, Kang, Hwang, Shin & Rhee 2023, VNE: manipulating eigenvalue distribution.
    """
    z = direction(features)
    gram = z @ z.mT if len(z) < z.shape[-1] else z.mT @ z  # both have the eigenvalues that are not 0
    values = torch.linalg.eigvalsh(gram / len(z))
    return torch.special.entr(torch.where(values <= 0, 1, values)).sum()  # NaN stays NaN


class VonNeumannEntropyLoss(nn.Module):
    r"""``-S``, the negative von Neumann entropy of a batch of features: its decrease raises the effective rank.

    Weighted by some hundredths and added to a task's loss; by a negative weight it compresses.

    Source: Kim, Kang, Hwang, Shin & Rhee 2023, VNE: manipulating eigenvalue distribution.
    """

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        """Return ``-S`` of at least some dozens of samples."""
        return -von_neumann_entropy(features)
