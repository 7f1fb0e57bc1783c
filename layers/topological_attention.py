"""Linear attention that knows how far tokens are apart on a tree."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import elu

from isometry.layers.tree_field import TreeFieldIntegrator
from isometry.layers.tree_kernel import ExponentialKernel


class TopologicalAttention(nn.Module):
    r"""Attention with the mask ``f(d(i, j))``, at a cost linear in the tokens up to logarithms.

    ``y_i = sum_j f(d_ij) phi(q_i).phi(k_j) v_j / sum_j f(d_ij) phi(q_i).phi(k_j)`` in each head, with
    ``phi = elu + 1``, and then a linear map of all heads. Neither the mask nor the attention is ever a matrix.

    Args:
        features: Of a token; a multiple of ``heads``.
        heads: Number of heads, which share the mask.
        edges: The ``n - 1`` edges of a tree of the n tokens, such as a minimum spanning tree of their graph.
        f: The mask, positive, as ``TreeFieldIntegrator`` takes it; an ``ExponentialKernel`` by default.
        weights: Positive lengths of the edges; 1 by default.

    Source: Choromanski et al. 2024, Fast tree-field integrators; Choromanski et al. 2022, From block-
    Toeplitz matrices to differential equations on graphs (topological masking of linear attention).
    """

    def __init__(
        self,
        features: int,
        heads: int,
        edges: Sequence[tuple[int, int]],
        f: Callable[[Tensor], Tensor] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if features % heads:
            raise ValueError(f"TopologicalAttention: expected features that divide by {heads}, but got {features}.")
        self.heads = heads
        self.projection = nn.Linear(features, 3 * features)
        self.integrator = TreeFieldIntegrator(edges, len(edges) + 1, f or ExponentialKernel(), weights)
        self.output = nn.Linear(features, features)

    def forward(self, x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n d"]:
        """Return the attended tokens."""
        q, k, v = self.projection(x).chunk(3, -1)
        q, k, v = (y.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for y in (elu(q) + 1, elu(k) + 1, v))
        v = torch.cat([v, torch.ones_like(v[..., :1])], -1)  # the last one gives the denominator
        sums = self.integrator((k.unsqueeze(-1) * v.unsqueeze(-2)).flatten(-2)).unflatten(-1, (k.shape[-1], -1))
        y = (q.unsqueeze(-2) @ sums).squeeze(-2)
        return self.output((y[..., :-1] / y[..., -1:]).transpose(-2, -3).flatten(-2))
