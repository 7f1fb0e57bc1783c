"""Features from which known and new categories can be told."""

from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.hyperbolic import FeatureClipping, ToHyperbolic
from isometry.manifolds import Euclidean, Lorentz, PoincareBall


class HypCD(nn.Module):
    r"""``x -> exp_o(clip(projector(backbone(x))))``: a projection head that ends in hyperbolic space.

    It is trained by ``HypCDLoss`` on its points; afterwards the features of the backbone are clustered, and the head
    is dropped. A learnable curvature is the manifold's own, and is learned with the head.

    Args:
        backbone: Maps inputs to features ``[b, features]``.
        features: Of the backbone.
        hidden_features: Width of the projector, a perceptron with one hidden layer.
        manifold: Where the points lie; on ``Euclidean`` they are the clipped features, the twin without curvature.
        radius: The longest distance of a point from the origin, positive.

    Source: Liu, He & Han 2025, Hyperbolic category discovery, section 3.2.
    """

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        hidden_features: int,
        manifold: PoincareBall | Lorentz | Euclidean,
        radius: float = 2.3,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.Linear(features, hidden_features),
            nn.GELU(),
            nn.Linear(hidden_features, manifold.dim),
            FeatureClipping(radius),
            ToHyperbolic(manifold),
        )

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b m"]:
        """Return the points of inputs."""
        return self.head(self.backbone(x))
