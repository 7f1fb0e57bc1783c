"""Convolution on a hypergraph, whose edges join any number of nodes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def knn_hypergraph(x: Float[Tensor, "n d"], k: int) -> tuple[Int[Tensor, "2 nk"], Float[Tensor, " nk"]]:
    r"""Return the hypergraph of nearest neighbours: one hyperedge for each node e, of the k nodes nearest to it.

    A node v belongs to the hyperedge of e to the degree ``H[v, e] = exp(-d(v, e)^2 / mean_u d(u, e)^2)``, where the
    mean of distances is squared; e itself, which always belongs, to the degree 1.

    Args:
        x: One point per node.
        k: Nodes of a hyperedge, from 1 to n.

    Returns:
        The pairs (node, hyperedge) and the degrees, as ``HypergraphConv`` takes them.

    Raises:
        ValueError: If there are fewer than k nodes.

    Source: Feng, You, Zhang, Ji & Gao 2019, Hypergraph neural networks.
    """
    n = len(x)
    if not 1 <= k <= n:
        raise ValueError(f"knn_hypergraph: expected k from 1 to the number of nodes {n}, but got {k}.")
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")  # 0 is exact
    order = distance.detach().clone().fill_diagonal_(-1)  # before copies of the same point
    nodes = order.topk(k, largest=False).indices
    scale = distance.mean(1, keepdim=True).square()
    degrees = torch.exp(-distance.gather(1, nodes).square() / torch.where(scale == 0, 1, scale))
    hyperedges = torch.arange(n, device=x.device).repeat_interleave(k)
    return torch.stack([nodes.flatten(), hyperedges]), degrees.flatten()


class HypergraphConv(nn.Module):
    r"""Mean over hyperedges, and back: ``Y = D_v^{-1/2} H W D_e^{-1} H^T D_v^{-1/2} X T + b``.

    H is the incidence of nodes and hyperedges, W the diagonal matrix of the hyperedges' weights, ``D_v = diag(H w)``
    and ``D_e = diag(H^T 1)`` the degrees, T the learned matrix. The operator is symmetric and its norm at most 1.
    The weights act on the messages, not on the degrees only. A node in no hyperedge receives b.

    Args:
        in_features: Features of a node.
        out_features: Features of a node in the output.
        bias: Whether there is a b.
        dtype: Of the parameters.
        device: Of the parameters.

    Source: Feng, You, Zhang, Ji & Gao 2019, Hypergraph neural networks.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=False, dtype=dtype, device=device)
        self.bias = nn.Parameter(torch.zeros(out_features, dtype=dtype, device=device)) if bias else None

    def forward(
        self,
        x: Float[Tensor, "*b n d"],
        hyperedge_index: Int[Tensor, "2 k"],
        hyperedge_weight: Float[Tensor, " m"] | None = None,
        incidence: Float[Tensor, " k"] | None = None,
    ) -> Float[Tensor, "*b n e"]:
        """Return the new features of the nodes.

        Args:
            x: Features of the nodes.
            hyperedge_index: Pairs (node, hyperedge) where H is not 0.
            hyperedge_weight: Positive weights of the hyperedges, such as the softplus of a parameter; 1 by default.
                Without them the number of hyperedges is read from the index, on which a compiled graph breaks.
            incidence: Positive entries of H for the pairs; 1 by default.
        """
        nodes, hyperedges = hyperedge_index
        if hyperedge_weight is None:
            hyperedge_weight = x.new_ones(int(hyperedges.max()) + 1 if len(hyperedges) else 0)
        if incidence is None:
            incidence = x.new_ones(len(nodes))
        n, m = x.shape[-2], len(hyperedge_weight)
        node_degree = x.new_zeros(n).index_add(0, nodes, incidence * hyperedge_weight[hyperedges])
        edge_degree = x.new_zeros(m).index_add(0, hyperedges, incidence)
        from_node = _inverse(node_degree).sqrt()[nodes]
        to_edge = (incidence * from_node).unsqueeze(-1)
        to_node = to_edge * (hyperedge_weight * _inverse(edge_degree))[hyperedges].unsqueeze(-1)
        y = self.linear(x)
        gathered = y.new_zeros(*y.shape[:-2], m, y.shape[-1]).index_add(
            -2, hyperedges, to_edge * y.index_select(-2, nodes)
        )
        y = y.new_zeros(y.shape).index_add(-2, nodes, to_node * gathered.index_select(-2, hyperedges))
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return the bias."""
        return f"bias={self.bias is not None}"


def _inverse(degree: Tensor) -> Tensor:
    """Return ``1 / degree``, and 1 for what has no members, as nothing is gathered there."""
    return 1 / torch.where(degree == 0, 1, degree)
