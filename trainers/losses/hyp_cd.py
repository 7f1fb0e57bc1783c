"""The contrastive losses of category discovery in hyperbolic space."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from isometry.layers import RelativeCosines
from isometry.layers.hyperbolic import FromHyperbolic
from isometry.manifolds import Euclidean, Lorentz, PoincareBall


def contrastive_loss(similarity: Float[Tensor, "n n"], positive: Bool[Tensor, "n n"]) -> Float[Tensor, ""]:
    r"""Return the mean over i, and over its positives p, of ``-log(exp(s_ip) / sum_{j != i} exp(s_ij))``.

    With one positive each it is InfoNCE. Rows without a positive are left out; without any the loss is 0.

    Args:
        similarity: ``s``, divided by the temperature.
        positive: Which pairs are of one kind, without the diagonal.

    Source: Khosla et al. 2020, Supervised contrastive learning, equation 2.
    """
    itself = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    log_share = (similarity - similarity.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)) * positive
    count = positive.sum(1)
    return -(log_share.sum(1) / count.clamp_min(1)).sum() / (count > 0).sum().clamp_min(1)


class HypCDLoss(nn.Module):
    r"""``(1 - a) L(cos) + a L(-d)``: contrastive losses by the angle at the origin, and by the geodesic distance.

    Each is ``L = (1 - b) L_views + b L_classes``. In ``L_views`` the positive is the other view of the same sample,
    in ``L_classes``, which is of labelled samples only, all views of its class. In the paper a grows from 0 to 1
    during training: set ``distance_weight`` before each epoch.

    Args:
        manifold: Where the points lie; ``Euclidean`` with a = 0 is the loss without hyperbolic space.
        distance_weight: a, between 0 and 1.
        supervised_weight: b, between 0 and 1.
        temperature: By which similarities are divided in ``L_views``, positive.
        supervised_temperature: The same in ``L_classes``.

    Raises:
        ValueError: If a weight or a temperature is not as above.

    Source: Liu, He & Han 2025, Hyperbolic category discovery, section 3.3.
    """

    def __init__(
        self,
        manifold: PoincareBall | Lorentz | Euclidean,
        distance_weight: float = 0.5,
        supervised_weight: float = 0.35,
        temperature: float = 1.0,
        supervised_temperature: float = 0.07,
    ) -> None:
        super().__init__()
        if not (0 <= distance_weight <= 1 and 0 <= supervised_weight <= 1):
            raise ValueError(
                f"HypCDLoss: expected weights between 0 and 1, but got {distance_weight} and {supervised_weight}."
            )
        if not (temperature > 0 and supervised_temperature > 0):
            raise ValueError(
                f"HypCDLoss: expected positive temperatures, but got {temperature} and {supervised_temperature}."
            )
        self.manifold = manifold
        self.distance_weight, self.supervised_weight = distance_weight, supervised_weight
        self.temperature, self.supervised_temperature = temperature, supervised_temperature
        self._directions, self._cosines = FromHyperbolic(manifold), RelativeCosines()

    def forward(self, views: Float[Tensor, "two b n"], labels: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        """Return the loss of two views, as points ``[2, b, n]``, of samples with a class each or, unlabelled, -100."""
        if len(views) != 2 or views.shape[1] != len(labels):
            raise ValueError(
                f"HypCDLoss: expected two views of each of {len(labels)} samples, [2, b, n], but got "
                f"{list(views.shape)}."
            )
        points, labels = views.flatten(0, 1), labels.repeat(2)
        number = torch.arange(views.shape[1], device=views.device).repeat(2)
        itself = torch.eye(len(points), dtype=torch.bool, device=views.device)
        same_sample = (number.unsqueeze(1) == number) & ~itself
        known = labels >= 0
        same_class = (labels[known].unsqueeze(1) == labels[known]) & ~itself[known][:, known]
        loss = points.new_zeros(())
        for weight, similarity in ((1 - self.distance_weight, self._angular), (self.distance_weight, self._radial)):
            if weight > 0:
                s = similarity(points)
                of_views = contrastive_loss(s / self.temperature, same_sample)
                of_classes = contrastive_loss(s[known][:, known] / self.supervised_temperature, same_class)
                mixed = (1 - self.supervised_weight) * of_views + self.supervised_weight * of_classes
                loss = loss + weight * mixed
        return loss

    def _angular(self, points: Tensor) -> Tensor:
        features = self._directions(points)
        return self._cosines(features, features)

    def _radial(self, points: Tensor) -> Tensor:
        return -self.manifold.dist(points.unsqueeze(1), points)

    def extra_repr(self) -> str:
        """Return weights and temperatures."""
        return (
            f"distance_weight={self.distance_weight}, supervised_weight={self.supervised_weight}, "
            f"temperature={self.temperature}, supervised_temperature={self.supervised_temperature}"
        )
