"""What a graph makes of the features of its nodes, before anything is learned."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class FeatureExpansion(nn.Module):
    r"""Features side by side, ``[X, P X, ..., P^K X, S_r]``, each column of length 1.

    P is the adjacency with self-loops between inverse roots of degrees, ``(D + I)^{-1/2} (A + I) (D + I)^{-1/2}``.
    ``S_r = U_r diag(s_r)``, the structural principal components, are the leading singular vectors, by their singular
    values, of the normalised Laplacian ``I - D^{-1/2} A D^{-1/2}`` with rows of length 1; each column's largest entry
    is positive. They are defined by the graph only where the singular values are distinct. There are no parameters: the
    result can be computed once.

    Args:
        hops: K, the largest power of P, at least 0.
        structural: r, the number of structural components, at least 0.

    Source: Sun, Zhang, Chen, Zhang, Xu & Yang 2023, Feature expansion for graph neural networks.
    """

    def __init__(self, hops: int = 2, structural: int = 0) -> None:
        super().__init__()
        if hops < 0 or structural < 0:
            raise ValueError(f"FeatureExpansion: expected hops and structural >= 0, but got {hops} and {structural}.")
        self.hops, self.structural = hops, structural

    def out_features(self, in_features: int) -> int:
        """Return the number of columns that ``in_features`` become."""
        return (self.hops + 1) * in_features + self.structural

    def forward(self, x: Float[Tensor, "*b n d"], edge_index: Int[Tensor, "2 e"]) -> Float[Tensor, "*b n f"]:
        """Return the expanded features.

        Args:
            x: Features of the nodes.
            edge_index: Pairs of joined nodes, each in both directions.
        """
        n = x.shape[-2]
        if self.structural > n:
            raise ValueError(f"FeatureExpansion: expected at least {self.structural} nodes, but got {n}.")
        source, target = edge_index
        degree = x.new_ones(n).index_add(0, target, x.new_ones(len(target)))
        to_edge = (degree[source] * degree[target]).rsqrt().unsqueeze(-1)
        blocks = [x]
        for _ in range(self.hops):
            last = blocks[-1]
            own = last / degree.unsqueeze(-1)
            blocks.append(own.index_add(-2, target, to_edge * last.index_select(-2, source)))
        if self.structural:
            components = structural_components(edge_index, n, self.structural).to(x)
            blocks.append(components.expand(*x.shape[:-1], -1))
        return torch.cat([_unit_columns(block) for block in blocks], -1)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"hops={self.hops}, structural={self.structural}"


def structural_components(edge_index: Int[Tensor, "2 e"], num_nodes: int, rank: int) -> Float[Tensor, "n r"]:
    """Return ``S_r`` of ``FeatureExpansion`` in float64, at the cost of the eigenvalues of a dense matrix."""
    source, target = edge_index
    eye = torch.eye(num_nodes, dtype=torch.float64, device=edge_index.device)
    adjacency = torch.zeros_like(eye).index_put((target, source), eye.new_ones(()))
    degree = adjacency.sum(1)
    root = torch.where(degree == 0, 1, degree).rsqrt()
    rows = torch.nn.functional.normalize(eye - root.unsqueeze(1) * adjacency * root, dim=1)
    values, vectors = torch.linalg.eigh(rows @ rows.mT)  # the squares of the singular values
    leading = vectors[:, num_nodes - rank :].flip(-1) * values[num_nodes - rank :].flip(-1).clamp_min(0).sqrt()
    largest = leading.gather(0, leading.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -leading, leading)


def _unit_columns(x: Tensor) -> Tensor:
    """Return columns of length 1, and those of zeros as they are."""
    square = x.square().sum(-2, keepdim=True)
    return x * torch.where(square == 0, 1, square).rsqrt()
