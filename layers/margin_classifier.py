"""Cosine classifiers that are trained with a margin: ArcFace, CosFace and Unicom's partial selections."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isometry.layers.cosine_classifier import CosineClassifier, direction


def angular_margin_cosine(theta: Float[Tensor, "*b"], margin: float) -> Float[Tensor, "*b"]:
    r"""Return ``cos(theta + m)``, continued as ``-2 - cos(theta + m)`` beyond ``theta + m = pi``.

    The continuation falls on to ``theta = pi``, as SphereFace's does (Liu et al. 2017); the cosine itself would
    rise there, and push the worst samples away from their class.

    Args:
        theta: Angles in [0, pi].
        margin: m in [0, pi/2).

    Source: Deng, Guo, Xue & Zafeiriou 2019, ArcFace, equation 3.
    """
    value = (theta + margin).cos()
    return torch.where(theta + margin <= math.pi, value, -2 - value)


def sampled_classes(target: Int[Tensor, "*b"], num_classes: int, fraction: float) -> Float[Tensor, " k"]:
    """Return 0 for the classes that take part and -inf for the others, drawn anew at each call.

    All classes of ``target`` take part, and random others until there are ``fraction num_classes``.
    Source: An et al. 2023, Unicom; An et al. 2022, Partial FC.
    """
    chance = torch.rand(num_classes, device=target.device)
    chance = chance.index_fill(0, target.flatten(), 2)
    least = chance.topk(max(1, round(fraction * num_classes))).values[-1]
    return torch.where(chance >= least, 0.0, -math.inf)


class MarginClassifier(CosineClassifier):
    r"""A cosine classifier with a margin: in training the logit of a sample's own class y is made smaller.

    .. math:: z_y = s (\cos(\theta_y + m) - c), \qquad z_k = s \cos \theta_k \quad (k \ne y)

    with the ``angular_margin`` m and the ``cosine_margin`` c, to be followed by a softmax cross entropy. ArcFace is
    m = 0.5, c = 0; CosFace is m = 0, c = 0.35; Unicom is m = 0.3 with ``class_fraction`` and ``feature_fraction``
    below 1. In eval mode, or without ``target``, the logits are ``scale cos(theta)`` of all classes and features.

    The angle comes from the chords ``x - w`` and ``x + w``, not from an arccos, so that its gradient has length 1 up to
    the class's centre, where arccos' is infinite. The gradient exactly at the centre is 0.

    Args:
        in_features: Coordinates of ``x``, at least 2.
        num_classes: Number of classes.
        scale: Positive factor s.
        angular_margin: m, in [0, pi/2).
        cosine_margin: c, at least 0.
        class_fraction: The share of classes, in (0, 1], that a batch is trained against: its own and random others; the
            rest get the logit -inf, which label smoothing does not bear.
        feature_fraction: The share of features, in (0, 1], that a batch is trained on: those of ``x`` and of the class
            centres at random places, brought back to length 1.
        dtype: Of the weight.
        device: Of the weight.

    Raises:
        ValueError: If an argument is not in its range.

    Source: Deng et al. 2019, ArcFace, equation 3; Wang et al. 2018, CosFace, equation 4; An et al. 2023, Unicom:
    Universal and compact representation learning for image retrieval.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        scale: float = 64.0,
        *,
        angular_margin: float = 0.5,
        cosine_margin: float = 0.0,
        class_fraction: float = 1.0,
        feature_fraction: float = 1.0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(in_features, num_classes, scale, dtype=dtype, device=device)
        if not 0 <= angular_margin < math.pi / 2:
            raise ValueError(f"MarginClassifier: expected 0 <= angular_margin < pi/2, but got {angular_margin}.")
        if not 0 <= cosine_margin < math.inf:
            raise ValueError(f"MarginClassifier: expected a cosine_margin >= 0, but got {cosine_margin}.")
        for name, fraction in (("class_fraction", class_fraction), ("feature_fraction", feature_fraction)):
            if not 0 < fraction <= 1:
                raise ValueError(f"MarginClassifier: expected 0 < {name} <= 1, but got {fraction}.")
        self.angular_margin, self.cosine_margin = angular_margin, cosine_margin
        self.class_fraction, self.feature_fraction = class_fraction, feature_fraction

    def forward(self, x: Float[Tensor, "*b n"], target: Int[Tensor, "*b"] | None = None) -> Float[Tensor, "*b k"]:
        """Return the logits; in training, those with the margin for the classes ``target``."""
        if target is None or not self.training:
            return super().forward(x)
        weight: Tensor = self.weight
        if self.feature_fraction < 1:
            count = max(1, round(self.feature_fraction * self.in_features))
            features = torch.randperm(self.in_features, device=x.device)[:count]
            x, weight = x[..., features], direction(weight[:, features])
        cosines = self.cosines(x, weight)
        theta = self.manifold.dist(direction(x), weight[target])
        own = angular_margin_cosine(theta, self.angular_margin) - self.cosine_margin
        logits = self.scale * cosines.scatter(-1, target.unsqueeze(-1), own.unsqueeze(-1).to(cosines.dtype))
        if self.class_fraction < 1:
            logits = logits + sampled_classes(target, self.num_classes, self.class_fraction)
        return logits

    def extra_repr(self) -> str:
        """Return the sizes, the scale and the margins."""
        margins = f"angular_margin={self.angular_margin}, cosine_margin={self.cosine_margin}"
        partial = f"class_fraction={self.class_fraction}, feature_fraction={self.feature_fraction}"
        return f"{super().extra_repr()}, {margins}, {partial}"
