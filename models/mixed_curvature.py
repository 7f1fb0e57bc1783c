"""Products of spaces whose curvatures are learned."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers.hyperbolic._hyperboloid import Space
from isometry.manifolds import Euclidean, HomogeneousManifold, Lorentz, PoincareBall, Product, Sphere
from isometry.manifolds._smooth import safe_sqrt
from isometry.models.hgcn import HGCN
from isometry.models.node_embedding import NodeEmbedding


class MixedCurvatureEmbedding(NodeEmbedding):
    r"""One point for each node in a product of spaces with learned scales: ``d^2 = sum_i s_i^2 d_i^2``.

    A factor of curvature K, scaled by s, is one of curvature ``K/s^2``. So the signature is learned: from one
    hyperbolic, one spherical and one flat factor, say, those whose distances serve grow, and others vanish.

    Args:
        num_nodes: Number of nodes.
        factors: ``PoincareBall``, ``Lorentz``, ``Sphere`` or ``Euclidean`` manifolds.
        init_scale: Half-width of the initial coordinates around the origin.

    Raises:
        ValueError: If there is no factor, or one of another kind.

    Source: Gu, Sala, Gunel & Re 2019, Learning mixed-curvature representations in product spaces, section 3.
    """

    def __init__(self, num_nodes: int, factors: Sequence[HomogeneousManifold], *, init_scale: float = 1e-3) -> None:
        for factor in factors:
            if not isinstance(factor, PoincareBall | Lorentz | Sphere | Euclidean):
                raise ValueError(
                    "MixedCurvatureEmbedding: expected factors PoincareBall, Lorentz, Sphere or Euclidean, but got "
                    f"{factor!r}."
                )
        product = Product(factors)
        super().__init__(num_nodes, product, init_scale=init_scale, sparse=False)
        self.product = product
        self.log_scales = nn.Parameter(torch.zeros(len(factors)))

    def forward(self, index: Int[Tensor, "*b m"]) -> Float[Tensor, "*b m-1"]:
        """Return the distances from the first node of each row of ``index`` to the others."""
        points = self.nodes(index)
        return self._dist(points[..., :1, :], points[..., 1:, :])

    def distances_from(self, index: Int[Tensor, " b"]) -> Float[Tensor, "b num_nodes"]:
        """Return the distances from each given node to every node."""
        return self._dist(self.nodes(index).unsqueeze(-2), self.nodes(torch.arange(self.nodes.num_embeddings)))

    def curvatures(self) -> Float[Tensor, " f"]:
        """Return the sectional curvatures of the factors as they are scaled now."""
        scales = self.log_scales.exp()
        plain = [
            -m.c if isinstance(m, PoincareBall | Lorentz) else float(isinstance(m, Sphere))
            for m in self.product.manifolds
        ]
        return torch.cat([torch.as_tensor(value).to(scales).reshape(1) for value in plain]) / scales.square()

    def _dist(self, x: Tensor, y: Tensor) -> Tensor:
        parts = zip(self.product.manifolds, self.product.split(x), self.product.split(y), strict=True)
        squares = torch.stack([manifold.dist2(*points) for manifold, *points in parts], -1)
        return safe_sqrt((self.log_scales.mul(2).exp() * squares).sum(-1))


class ProductHGCN(nn.Module):
    r"""An ``HGCN`` for each factor of a product, side by side: one point of the product for every node.

    Distances add up as ``d^2 = sum_i d_i^2``, each factor in its own curvature, learned where the space says so.

    Args:
        in_features: Features of a node.
        branches: The spaces of each network, as ``HGCN`` takes them; their last ones are the factors.
        aggregation: "tangent" or "centroid".
        dropout: Probability with which a coordinate is left out in training, before each convolution.

    Raises:
        ValueError: If there are no branches, or a space has no constant curvature of at most 0.

    Source: Gu, Sala, Gunel & Re 2019 (product); Chami, Ying, Re & Leskovec 2019 (networks).
    """

    def __init__(
        self,
        in_features: int,
        branches: Sequence[Sequence[Space]],
        *,
        aggregation: str = "centroid",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            HGCN(in_features, spaces, aggregation=aggregation, dropout=dropout) for spaces in branches
        )
        self.manifold = Product([spaces[-1] for spaces in branches])

    def forward(self, x: Float[Tensor, "n d"], edge_index: Int[Tensor, "2 e"]) -> Float[Tensor, "n p"]:
        """Return the points of the nodes for their features and the edges, each in both directions."""
        return self.manifold.join([branch(x, edge_index) for branch in self.branches])
