"""The loss of split invariant and equivariant representations."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from isometry.models import SplitViews


def variance_penalty(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Return ``mean_d relu(1 - sqrt(var_d + 1e-4)) / 2``: what features lack of a standard deviation of 1."""
    return (1 - (x.var(0) + 1e-4).sqrt()).relu().mean() / 2


def covariance_penalty(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Return ``sum_{i != j} cov_ij^2 / d``: how much features repeat each other."""
    centred = x - x.mean(0)
    covariance = centred.mT @ centred / (len(x) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / x.shape[-1]


class SIELoss(nn.Module):
    r"""``a |x_inv - y_inv|^2 + b |W x_equi - y_equi|^2 + c (V(x) + V(y) + V(W x_equi)) + d (C(x) + C(y))``.

    Squares are means over entries; V is ``variance_penalty`` and C ``covariance_penalty`` of both parts of a view side
    by side. The two last ones keep the embeddings from collapsing.

    Args:
        invariance: a.
        equivariance: b.
        variance: c.
        covariance: d.

    Source: Garrido, Najman & LeCun 2023, Self-supervised learning of split invariant equivariant representations,
    Bardes, Ponce & LeCun 2022, VICReg.
    """

    def __init__(
        self, invariance: float = 10.0, equivariance: float = 4.5, variance: float = 10.0, covariance: float = 1.0
    ) -> None:
        super().__init__()
        self.invariance, self.equivariance = invariance, equivariance
        self.variance, self.covariance = variance, covariance

    def forward(self, views: SplitViews) -> Float[Tensor, ""]:
        """Return the loss of a batch of at least two pairs of views."""
        x_invariant, y_invariant, x_equivariant, y_equivariant, predicted = views
        sides = [
            torch.cat([x_invariant, x_equivariant], -1),
            torch.cat([y_invariant, y_equivariant], -1),
        ]
        variance = sum((variance_penalty(side) for side in sides), variance_penalty(predicted))
        covariance = covariance_penalty(sides[0]) + covariance_penalty(sides[1])
        return (
            self.invariance * mse_loss(x_invariant, y_invariant)
            + self.equivariance * mse_loss(predicted, y_equivariant)
            + self.variance * variance
            + self.covariance * covariance
        )
