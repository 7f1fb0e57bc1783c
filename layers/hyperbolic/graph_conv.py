"""Message passing between points of hyperbolic space."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers.hyperbolic._hyperboloid import (
    Space,
    SpaceLayer,
    curvature,
    edge_dist2,
    exp_spatial,
    log_spatial,
    normalised_sum,
    time_of,
)
from isometry.manifolds._precision import full_precision


class GraphConv(SpaceLayer):
    r"""Nodes become means of themselves, with weight 1, and of neighbours ``y_j = linear(x_j)``, with weights ``w_ij``.

    - "centroid": ``sum_j w_ij y_j``, normalised onto the hyperboloid. Isometries of the ``y_j`` carry it along.
    - "tangent": ``exp_o(sum_j w_ij log_o y_j / sum_j w_ij)`` at the origin o.

    With attention weights are multiplied by ``exp(-rate d(y_i, y_j)^2)`` of a learned rate. On ``Euclidean(n)`` both
    are the weighted mean.

    Args:
        manifold: Where the points ``linear(x)`` lie.
        linear: What is applied to each node first, such as ``Linear`` or ``LorentzLinear``.
        aggregation: "centroid" or "tangent".
        attention: Whether nearer neighbours weigh more.

    Raises:
        ValueError: If the aggregation is another one, or the manifold has no constant curvature of at most 0.

    Source: Chami et al. 2019, Hyperbolic graph convolutional neural networks, at the origin as in its code; the
    centroid: Chen et al. 2022, Fully hyperbolic neural networks.
    """

    def __init__(
        self, manifold: Space, linear: nn.Module, *, aggregation: str = "centroid", attention: bool = False
    ) -> None:
        super().__init__(manifold)
        if aggregation not in ("centroid", "tangent"):
            raise ValueError(f'GraphConv: expected aggregation "centroid" or "tangent", but got {aggregation!r}.')
        self.linear, self.aggregation = linear, aggregation
        log_rate = torch.full((1,), -math.log(manifold.dim) / 2)
        self.log_rate = nn.Parameter(log_rate) if attention else None

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    def forward(
        self,
        x: Float[Tensor, "*b n p"],
        edge_index: Int[Tensor, "2 e"],
        edge_weight: Float[Tensor, " e"] | None = None,
    ) -> Float[Tensor, "*b n q"]:
        """Return the new points of the nodes.

        Args:
            x: What ``linear`` takes, one for each node.
            edge_index: Pairs (source j, target i), without loops: a node is its own neighbour already.
            edge_weight: Non-negative weights of the edges; 1 by default.
        """
        y = self.linear(x)
        self.manifold.check_shape(y)
        s = self.manifold.spatial(y)
        weight = s.new_ones(edge_index.shape[1]) if edge_weight is None else edge_weight
        return self.manifold.from_spatial(self._aggregated(s, (edge_index[0], edge_index[1]), weight))

    @full_precision
    def _aggregated(self, s: Tensor, edges: tuple[Tensor, Tensor], weight: Tensor) -> Tensor:
        (source, target), c = edges, curvature(self.manifold)
        if self.log_rate is not None:
            d2 = edge_dist2(s.index_select(-2, source), s.index_select(-2, target), c)
            weight = weight * (-self.log_rate.to(s.dtype).exp() * d2).exp()
        weight = weight.unsqueeze(-1)
        total = weight.new_ones(*weight.shape[:-2], s.shape[-2], 1).index_add(-2, target, weight)
        tangent = self.aggregation == "tangent"
        terms = log_spatial(s, c) if tangent else torch.cat([time_of(s, c), s], -1)
        sums = terms.index_add(-2, target, weight * terms.index_select(-2, source))
        return exp_spatial(sums / total, c) if tangent else normalised_sum(sums[..., 1:], sums[..., :1], total, c)

    def extra_repr(self) -> str:
        """Return the aggregation and whether there is attention."""
        return f"aggregation={self.aggregation!r}, attention={self.log_rate is not None}"
