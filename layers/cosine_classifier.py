"""A classifier by cosines, whose classes are points of the sphere."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds import Sphere, register_manifold
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import norm


def direction(x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """Return ``x/|x|``, and 0 at 0, where the derivative is taken as the identity."""
    length = norm(x, keepdim=True)
    return x / torch.where(length > 0, length, 1)


class CosineClassifier(FullPrecision):
    r"""Logits ``scale <x/|x|, w_k>``: the cosines of the angles to one unit vector ``w_k`` per class.

    The rows of the weight are points of the sphere: an optimizer of ``isometry.trainers.optim`` turns them. The logits
    of ``x = 0``, which has no direction, are 0.

    Args:
        in_features: Coordinates of ``x``, at least 2.
        num_classes: Number of classes.
        scale: Positive factor of the cosines. A softmax over K classes reaches probability p at best if it is at least
            ``(1 - 1/K) log(p (K - 1)/(1 - p))``.
        dtype: Of the weight.
        device: Of the weight.

    Raises:
        ValueError: If ``scale`` is not positive.

    Source: Wang, Xiang, Cheng & Yuille 2017, NormFace: L2 hypersphere embedding for face verification; so is the bound
    on the scale.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        scale: float = 16.0,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"{type(self).__name__}: expected a positive scale, but got {scale}.")
        self.in_features, self.num_classes, self.scale = in_features, num_classes, float(scale)
        self.manifold = Sphere(in_features - 1)
        self.weight = nn.Parameter(self.manifold.random(num_classes, in_features, dtype=dtype, device=device))
        register_manifold(self, "weight", self.manifold)

    @full_precision
    def cosines(self, x: Float[Tensor, "*b n"], weight: Float[Tensor, "k n"]) -> Float[Tensor, "*b k"]:
        """Return the cosines of the angles between ``x``, of any length, and unit vectors."""
        return direction(x) @ weight.mT

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """Return the logits."""
        return self.scale * self.cosines(x, self.weight)

    def extra_repr(self) -> str:
        """Return the sizes and the scale."""
        return f"{self.in_features}, {self.num_classes}, scale={self.scale}"
