"""A small hyperbolic graph network that segments an image without labels."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers.hyperbolic import Classifier, GraphConv, LorentzLinear, ToHyperbolic
from isometry.manifolds import Euclidean, Lorentz, PoincareBall


class SegHGNN(nn.Module):
    r"""Patches to segments: ``classifier(graph_conv(exp_o(linear(features))))``, fewer than 7,500 parameters.

    One graph convolution, ``LorentzLinear`` and the centroid of neighbours, joins the features of similar patches. It
    is trained on one image at a time, by ``NormalizedCutLoss`` of the same graph.

    Args:
        in_features: Of a patch. With 384 of them, those of a small vision transformer, and 10 dimensions the network
            has 3,982 parameters for two segments.
        manifold: Where patches lie; on ``Euclidean`` it is a graph convolution of the usual kind.
        num_segments: Number of segments, at least 2.

    Raises:
        ValueError: If there are fewer than two segments.

    Source: Mondal et al. 2024, Seg-HGNN: unsupervised and light-weight image segmentation with hyperbolic graph neural
    networks.
    """

    def __init__(self, in_features: int, manifold: PoincareBall | Lorentz | Euclidean, num_segments: int = 2) -> None:
        super().__init__()
        if num_segments < 2:
            raise ValueError(f"SegHGNN: expected at least 2 segments, but got num_segments={num_segments}.")
        self.points = nn.Sequential(nn.Linear(in_features, manifold.dim), ToHyperbolic(manifold))
        self.conv = GraphConv(manifold, LorentzLinear(manifold, manifold))
        self.classifier = Classifier(manifold, num_segments)

    def forward(
        self, x: Float[Tensor, "n d"], edge_index: Int[Tensor, "2 e"], edge_weight: Float[Tensor, " e"]
    ) -> Float[Tensor, "n k"]:
        """Return the logits of patches for segments, from features, and edges (both directions) with weights."""
        return self.classifier(self.conv(self.points(x), edge_index, edge_weight))
