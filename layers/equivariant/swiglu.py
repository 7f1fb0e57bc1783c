"""SwiGLU for functions on the sphere."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.equivariant.sphere_grid import SphereGrid


class SwiGLUS2(nn.Module):
    r"""Multiply one half of the channels by the gated other half on the sphere, ``y = (sigmoid(a_0) a)(n) b(n)``.

    ``[a, b] = x``. The sigmoid sees the scalars ``a_0`` alone and the product of two functions is exact on the grid, so
    the layer is exactly equivariant, unlike an activation of the values. On scalars (lmax = 0) it is SwiGLU. It keeps
    natural parity.

    Args:
        lmax: The highest degree.

    Source: Liao et al. 2026, EquiformerV3 (SwiGLU-S2); Shazeer 2020, GLU variants improve transformer.
    """

    def __init__(self, lmax: int) -> None:
        super().__init__()
        self.lmax = lmax
        self._grid = SphereGrid(lmax, lmax, 3 * lmax)

    def forward(self, x: Float[Tensor, "*n size doubled"]) -> Float[Tensor, "*n size channels"]:
        """Return the product, of half as many channels as ``x``."""
        values, gate = self._grid.values(x), torch.sigmoid(x[..., :1, : x.shape[-1] // 2])
        a, b = values.chunk(2, -1)
        return self._grid.coefficients(gate * a * b)

    def extra_repr(self) -> str:
        """Return the highest degree."""
        return f"lmax={self.lmax}"
