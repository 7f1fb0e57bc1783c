"""Distances to geodesic hyperplanes, which are what a layer's features are on a hyperbolic space."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from isometry.layers.hyperbolic._hyperboloid import Curvature, SpaceLayer, asinh_c, linear_weight, sinh_c, time_of
from isometry.manifolds._smooth import norm


class Hyperplanes(SpaceLayer):
    r"""K hyperplanes ``{x : d_k(x) = 0}`` with normals ``a_k`` at the origin, at the distances ``-b_k`` along them.

    ``v_k = |a_k| d_k = |a_k|/sqrt(c) asinh(sqrt(c) (s.a_k/|a_k| cosh(sqrt(c) b_k) + t sinh(sqrt(c) b_k)/sqrt(c)))``
    is linear in ``s`` and ``t`` inside the asinh, and ``s.a_k + |a_k| b_k`` as ``c -> 0``.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def _make_planes(
        self, count: int, dim: int, bias: bool, dtype: torch.dtype | None, device: torch.device | str | None
    ) -> None:
        self.weight = linear_weight(count, dim, dtype, device)
        self.bias = nn.Parameter(torch.zeros(count, dtype=dtype, device=device)) if bias else None

    def _planes(self, c: Curvature, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return the rows that ``s`` is multiplied by, what ``t`` is, and the lengths ``|a|``."""
        weight = self.weight.to(dtype).flatten(1)
        length = norm(weight)
        unit = weight / torch.where(length > 0, length, 1).unsqueeze(-1)
        if self.bias is None:
            return unit, None, length
        shift = sinh_c(self.bias.to(dtype), c)
        rows = unit * (1 + c * shift.square()).sqrt().unsqueeze(-1)
        return rows.to(dtype), shift.to(dtype), length

    def _distances(self, s: Float[Tensor, "*b n"], c: Curvature) -> Float[Tensor, "*b k"]:
        """Return ``v`` of points given by their spatial parts."""
        rows, shift, length = self._planes(c, s.dtype)
        product = F.linear(s, rows)
        return length * asinh_c(product if shift is None else torch.addcmul(product, time_of(s, c), shift), c)
