"""The loss of entailment cones."""

from jaxtyping import Float
from torch import Tensor, nn


class EntailmentLoss(nn.Module):
    r"""Energies pulled to 0 for true pairs, others pushed beyond a margin: ``mean E + mean max(0, margin - E')``.

    Args:
        margin: How far outside of its cone a point that is not below should be, in radians, at least 0.

    Raises:
        ValueError: If the margin is negative.

    Source: Ganea, Becigneul & Hofmann 2018, Hyperbolic entailment cones for learning hierarchical embeddings.
    """

    def __init__(self, margin: float = 0.01) -> None:
        super().__init__()
        if not margin >= 0:
            raise ValueError(f"EntailmentLoss: expected a margin >= 0, but got {margin}.")
        self.margin = margin

    def forward(self, positive: Float[Tensor, "*b"], negative: Float[Tensor, "*c"]) -> Float[Tensor, ""]:
        """Return the loss of the energies of pairs that are in the hierarchy, and of pairs that are not."""
        return positive.mean() + (self.margin - negative).clamp_min(0).mean()
