"""A graph's nodes as points of a manifold."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers import Embedding, ShardedEmbedding
from isometry.manifolds import HomogeneousManifold


class NodeEmbedding(nn.Module):
    r"""One point for each node; relations are distances: ``index -> d(x[index_0], x[index_j])``, j = 1, 2, ...

    Args:
        num_nodes: Number of nodes.
        manifold: Where they are embedded.
        init_scale: Half-width of the initial coordinates around the origin.
        sparse: Give sparse gradients.
        dtype: Of the table.
        device: Of the table; "meta" for one that is too large to be whole anywhere (see ``ShardedEmbedding``).

    Source: Nickel & Kiela 2017 on the Poincare ball; any manifold here.
    """

    nodes: Embedding | ShardedEmbedding

    def __init__(
        self,
        num_nodes: int,
        manifold: HomogeneousManifold,
        *,
        init_scale: float = 1e-3,
        sparse: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if num_nodes < 1:
            raise ValueError(f"NodeEmbedding: expected at least one node, but got num_nodes={num_nodes}.")
        self.nodes = Embedding(num_nodes, manifold, init_scale=init_scale, sparse=sparse, dtype=dtype, device=device)

    @property
    def manifold(self) -> HomogeneousManifold:
        """Where the nodes are embedded."""
        return self.nodes.manifold

    def forward(self, index: Int[Tensor, "*b m"]) -> Float[Tensor, "*b m-1"]:
        """Return the distances from the first node of each row of ``index`` to the others."""
        points = self.nodes(index)
        return self.manifold.dist(points[..., :1, :], points[..., 1:, :])

    def distances_from(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b num_nodes"]:
        """Return the distances from each given node to every node."""
        table = self.nodes.gather() if isinstance(self.nodes, ShardedEmbedding) else self.nodes.weight
        return self.manifold.dist(self.nodes(index).unsqueeze(-2), table)
