"""A classifier whose classes are subspaces."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers._full_precision import FullPrecision
from isometry.layers.cosine_classifier import direction
from isometry.manifolds import Grassmann, register_manifold
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import norm


class SubspaceClassifier(FullPrecision):
    r"""Logits ``scale |S_c^T x| / |x|``: the cosine of the angle between ``x`` and the subspace of each class.

    For subspaces of dimension 1 it is the absolute value of the cosine to a vector. The frames ``S_c`` are points of
    the Grassmann manifold: an optimizer of ``isometry.trainers.optim`` moves the subspaces, and weight decay leaves
    them where they are. The logits of ``x = 0``, which has no direction, are 0; where ``x`` is orthogonal to a subspace
    the logit is 0 with derivative 0, the symmetric subgradient.

    Args:
        in_features: d, the coordinates of ``x``.
        num_classes: C, the number of subspaces.
        subspace_dim: k < d, the dimension of each.
        scale: Positive factor of the cosines.
        dtype: Of the weight ``[C, d, k]``.
        device: Of the weight.

    Raises:
        ValueError: If ``scale`` is not positive, or ``subspace_dim`` not between 1 and ``in_features - 1``.

    Source: Wang, Li & Zhang 2023, Get the best of both worlds: improving accuracy and transferability by Grassmann
    class representation.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        subspace_dim: int,
        scale: float = 25.0,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"SubspaceClassifier: expected a positive scale, but got {scale}.")
        self.in_features, self.num_classes, self.subspace_dim = in_features, num_classes, subspace_dim
        self.scale = float(scale)
        self.manifold = Grassmann(in_features, subspace_dim)
        shape = (num_classes, in_features, subspace_dim)
        self.weight = nn.Parameter(self.manifold.random(*shape, dtype=dtype, device=device))
        register_manifold(self, "weight", self.manifold)

    @full_precision
    def cosines(self, x: Float[Tensor, "*b d"], weight: Float[Tensor, "c d k"]) -> Float[Tensor, "*b c"]:
        """Return the cosines of the angles between ``x``, of any length, and the subspaces with frames ``weight``."""
        classes, d, k = weight.shape
        coordinates = direction(x) @ weight.transpose(0, 1).reshape(d, classes * k)
        return norm(coordinates.unflatten(-1, (classes, k)))

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b c"]:
        """Return the logits."""
        return self.scale * self.cosines(x, self.weight)

    def extra_repr(self) -> str:
        """Return the sizes and the scale."""
        return f"{self.in_features}, {self.num_classes}, subspace_dim={self.subspace_dim}, scale={self.scale}"
