"""Attention between points, with several heads."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isometry.layers.hyperbolic._hyperboloid import (
    Space,
    SpaceLayer,
    curvature,
    dist2_from_product,
    normalised_sum,
    time_of,
)
from isometry.layers.hyperbolic.linear import LorentzLinear
from isometry.manifolds._precision import full_precision


class MultiheadAttention(SpaceLayer):
    r"""Centroids of values, weighted by how near keys are to the query: ``w_ij = softmax_j(-d(q_i, k_j)^2 / sqrt(h))``.

    Each head makes points of h dimensions by a ``LorentzLinear``, for the queries, the keys and the values. The heads'
    centroids ``sum_j w_ij v_j``, normalised onto the hyperboloid, are concatenated as spatial parts and go through
    another one. It is one layer in both models; on ``Euclidean(n)`` the centroids are means.

    Args:
        manifold: Where input and output lie.
        num_heads: Number of heads, which divides the dimension.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If it does not, or the manifold has no constant curvature of at most 0.

    Source: Chen et al. 2022, Fully hyperbolic neural networks, section 3.2, with geodesic distances as Gulcehre et al.
    2019, Hyperbolic attention networks.
    """

    def __init__(
        self,
        manifold: Space,
        num_heads: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(manifold)
        n = manifold.dim
        if num_heads < 1 or n % num_heads:
            raise ValueError(f"MultiheadAttention: expected num_heads that divides {n}, but got {num_heads}.")
        self.num_heads = num_heads
        self.query = LorentzLinear(manifold, manifold, dtype=dtype, device=device)
        self.key_value = LorentzLinear(manifold, manifold.with_dim(2 * n), dtype=dtype, device=device)
        self.join = LorentzLinear(manifold, manifold, dtype=dtype, device=device)

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    def forward(
        self,
        x: Float[Tensor, "*b l p"],
        context: Float[Tensor, "*b m q"] | None = None,
        mask: Bool[Tensor, "*#b l m"] | None = None,
    ) -> Float[Tensor, "*b l p"]:
        """Return one point for each point of a sequence.

        Args:
            x: The sequence that queries are made of.
            context: The sequence that keys and values are made of; ``x`` by default.
            mask: Which of the context each point attends to, at least one; all by default.
        """
        s = self._spatial(x)
        (q,) = self._heads(self.query, s)
        k, v = self._heads(self.key_value, s if context is None else self._spatial(context))
        heads = self._attended(q, k, v, (mask if mask is None else mask.unsqueeze(-3),))
        return self.join(self.manifold.from_spatial(heads.transpose(-3, -2).flatten(-2)))

    def _heads(self, linear: LorentzLinear, s: Tensor) -> tuple[Tensor, ...]:
        """Return the spatial parts ``[*b, heads, l, h]`` of each of the kinds of points that a layer makes."""
        y = linear.image(s).unflatten(-1, (-1, self.num_heads, self.manifold.dim // self.num_heads))
        return y.movedim(-3, 0).transpose(-3, -2).unbind(0)

    @full_precision
    def _attended(self, q: Tensor, k: Tensor, v: Tensor, mask: tuple[Tensor | None]) -> Tensor:
        c = curvature(self.manifold)
        # (cosh(sqrt(c) d) - 1)/c = rise_q + t_q rise_k - q.k with rise = (t - 1)/c = |s|^2/(1 + t), as one product
        t_q, t_k, t_v = time_of(q, c), time_of(k, c), time_of(v, c)
        rise_q, rise_k = q.square().sum(-1, keepdim=True) / (1 + t_q), k.square().sum(-1, keepdim=True) / (1 + t_k)
        left, right = torch.cat([-q, t_q, rise_q], -1), torch.cat([k, rise_k, torch.ones_like(rise_k)], -1)
        scores = -dist2_from_product(left @ right.mT, c) / q.shape[-1] ** 0.5
        if mask[0] is not None:
            scores = scores.masked_fill(~mask[0], -torch.inf)
        sums = scores.softmax(-1) @ torch.cat([t_v, v], -1)
        return normalised_sum(sums[..., 1:], sums[..., :1], 1.0, c)

    def extra_repr(self) -> str:
        """Return the number of heads."""
        return f"num_heads={self.num_heads}"
