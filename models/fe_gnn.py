"""A graph network that is linear in expanded features."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers import FeatureExpansion


class FEGNN(nn.Module):
    r"""Weights of its own for each power of the propagation: ``[X, P X, ..., P^K X, S_r] W``, then a linear classifier.

    ``sum_k P^k X W_k + S_r W_s`` with all columns of length 1, so that no subspace of features outweighs another or
    shares its weights. As ``expansion`` has no parameters it can run once: then ``head``, which treats nodes alone,
    is what is trained on its result.

    Args:
        in_features: Features of a node.
        hidden_features: Size of the features after W.
        num_classes: Number of logits.
        hops: K, the largest power of P.
        structural: r, the number of structural principal components.
        dropout: Probability with which a feature after W is left out in training.

    Source: Sun, Zhang, Chen, Zhang, Xu & Yang 2023, Feature expansion for graph neural networks.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_classes: int,
        hops: int = 2,
        structural: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.expansion = FeatureExpansion(hops, structural)
        self.head = nn.Sequential(
            nn.Linear(self.expansion.out_features(in_features), hidden_features),
            nn.Dropout(dropout),
            nn.Linear(hidden_features, num_classes),
        )

    def forward(self, x: Float[Tensor, "*b n d"], edge_index: Int[Tensor, "2 e"]) -> Float[Tensor, "*b n c"]:
        """Return the logits of every node.

        Args:
            x: Features of the nodes.
            edge_index: Pairs of joined nodes, each in both directions.
        """
        return self.head(self.expansion(x, edge_index))
