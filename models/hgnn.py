"""A network of the nodes of a hypergraph."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers import HypergraphConv


class HGNN(nn.Module):
    r"""Two convolutions on a hypergraph, ``conv(dropout(relu(conv(x))))``: logits of every node.

    Args:
        in_features: Features of a node.
        hidden_features: Features after the first convolution.
        num_classes: Number of logits.
        dropout: Probability with which a hidden feature is left out in training.

    Source: Feng, You, Zhang, Ji & Gao 2019, Hypergraph neural networks.
    """

    def __init__(self, in_features: int, hidden_features: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.first = HypergraphConv(in_features, hidden_features)
        self.dropout = nn.Dropout(dropout)
        self.second = HypergraphConv(hidden_features, num_classes)

    def forward(
        self,
        x: Float[Tensor, "*b n d"],
        hyperedge_index: Int[Tensor, "2 k"],
        hyperedge_weight: Float[Tensor, " m"] | None = None,
        incidence: Float[Tensor, " k"] | None = None,
    ) -> Float[Tensor, "*b n c"]:
        """Return the logits; the hypergraph is given as to ``HypergraphConv``."""
        hypergraph = (hyperedge_index, hyperedge_weight, incidence)
        return self.second(self.dropout(self.first(x, *hypergraph).relu()), *hypergraph)
