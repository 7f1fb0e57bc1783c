"""Graph networks in hyperbolic space."""

import itertools
from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers import Dropout
from isometry.layers.hyperbolic import Activation, FromHyperbolic, GraphConv, LorentzLinear, TangentLinear, ToHyperbolic
from isometry.manifolds import Euclidean, Lorentz, PoincareBall


class HGCN(nn.Module):
    r"""Features become points, and convolutions carry them from space to space: one point for every node.

    Each convolution is ``GraphConv`` and a ReLU at the origin. "tangent" aggregation, with ``TangentLinear``, is the
    network of Chami et al.; "centroid", with ``LorentzLinear``, the fully hyperbolic one. On ``Euclidean`` spaces both
    are a graph network with means of neighbours, of which these are the curved forms.

    Args:
        in_features: Features of a node.
        spaces: Where the output of each convolution lies; each may have a learnable curvature of its own. Features
            enter the first one's geometry.
        num_classes: Number of logits for each node, linear in ``log_o`` of the last points; the points by default.
        aggregation: "tangent" or "centroid".
        attention: Whether nearer neighbours weigh more.
        dropout: Probability with which a coordinate is left out in training, before each convolution.

    Raises:
        ValueError: If there are no spaces, or one has no constant curvature of at most 0.

    Source: Chami, Ying, Re & Leskovec 2019, Hyperbolic graph convolutional neural networks; Chen et al. 2022, Fully
    hyperbolic neural networks.
    """

    def __init__(
        self,
        in_features: int,
        spaces: Sequence[PoincareBall | Lorentz | Euclidean],
        num_classes: int | None = None,
        *,
        aggregation: str = "centroid",
        attention: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not spaces:
            raise ValueError("HGCN: expected at least one space, but got none; there is one for each convolution.")
        linear = TangentLinear if aggregation == "tangent" else LorentzLinear
        chain = [spaces[0].with_dim(in_features), *spaces]
        self.manifold = spaces[-1]
        self.enter = ToHyperbolic(chain[0])
        # At the origin, where features enter, the first is that of any features.
        self.dropouts = nn.ModuleList([nn.Dropout(dropout), *(Dropout(space, dropout) for space in spaces[:-1])])
        self.convs = nn.ModuleList(
            GraphConv(out, linear(space, out), aggregation=aggregation, attention=attention)
            for space, out in itertools.pairwise(chain)
        )
        self.activations = nn.ModuleList(Activation(space, nn.ReLU()) for space in spaces)
        self.head = None
        if num_classes is not None:
            self.head = nn.Sequential(FromHyperbolic(self.manifold), nn.Linear(self.manifold.dim, num_classes))

    def forward(
        self,
        x: Float[Tensor, "*b n d"],
        edge_index: Int[Tensor, "2 e"],
        edge_weight: Float[Tensor, " e"] | None = None,
    ) -> Float[Tensor, "*b n p"]:
        """Return the points of the nodes in the last space, or their logits.

        Args:
            x: Features of the nodes.
            edge_index: Pairs of joined nodes, each in both directions, without loops.
            edge_weight: Non-negative weights of the edges; 1 by default.
        """
        for dropout, conv, activation in zip(self.dropouts, self.convs, self.activations, strict=True):
            x = dropout(x)
            x = self.enter(x) if dropout is self.dropouts[0] else x
            x = activation(conv(x, edge_index, edge_weight))
        return x if self.head is None else self.head(x)
