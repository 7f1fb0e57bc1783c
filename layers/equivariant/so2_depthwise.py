"""The map of features in the frames of edges that keeps channels apart."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.equivariant.layout import EdgeLayout


class SO2Depthwise(nn.Module):
    r"""Mix the degrees of features in the frames of edges, each channel by itself, by weights of each edge.

    For each order m and channel, with the degrees as a column,

        ``y_0 = V_0 x_0``,   ``y_m = V_m x_m - W_m x_{-m}``,   ``y_{-m} = W_m x_m + V_m x_{-m}``:

    the map of ``SO2Linear`` whose weights a network computes from the edge's length. Together with the frames it is
    e3nn's product "uvu" with all spherical harmonics of the edge.

    Args:
        lmax: The highest degree.
        mmax: The highest order.
        o3: Whether reflections are respected, too, by features of natural parity: then ``W = 0``.

    Attributes:
        num_scalars: How many rows the weights have: the entries (output, input) of ``V_0``, ``V_1``, ``W_1`` (unless
            ``o3``), ``V_2``, ....

    Source: Passaro & Zitnick 2023, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs, section 4.
    """

    def __init__(self, lmax: int, mmax: int, o3: bool = False) -> None:
        super().__init__()
        self.lmax, self.mmax, self.o3 = lmax, mmax, o3
        self._counts = EdgeLayout(lmax, mmax).counts
        first, *rest = self._counts
        self._sizes = [first, *(count for count in rest for _ in range(1 if o3 else 2))]
        self.num_scalars = sum(size * size for size in self._sizes)

    def forward(
        self, x: Float[Tensor, "edges rows channels"], scalars: Float[Tensor, "edges num_scalars channels"]
    ) -> Float[Tensor, "edges rows channels"]:
        """Return the features mixed by the weights ``scalars``."""
        first, *rest = self._counts
        inputs = [part.unsqueeze(1) for part in x.split([first, *(count for count in rest for _ in range(2))], 1)]
        parts = scalars.split([size * size for size in self._sizes], 1)
        weights = [part.unflatten(1, (size, size)) for part, size in zip(parts, self._sizes, strict=True)]
        products = [weights[0] * inputs[0]]
        for m in range(1, self.mmax + 1):
            plus, minus = inputs[2 * m - 1 : 2 * m + 1]
            if self.o3:
                products += [weights[m] * plus, weights[m] * minus]
            else:
                even, odd = weights[2 * m - 1 : 2 * m + 1]
                products += [even * plus - odd * minus, odd * plus + even * minus]
        return torch.cat([product.sum(2) for product in products], 1)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"lmax={self.lmax}, mmax={self.mmax}, o3={self.o3}"
