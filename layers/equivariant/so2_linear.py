"""The linear map of features in the frames of edges."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.equivariant.layout import EdgeLayout


class SO2Linear(nn.Module):
    r"""Mix channels and degrees of features in the frames of edges: every linear map that commutes with turns.

    For each order m, with ``x_m`` all its degrees and channels as a row,

        ``y_0 = x_0 V_0 + b``,   ``y_m = x_m V_m - x_{-m} W_m``,   ``y_{-m} = x_m W_m + x_{-m} V_m``.

    Together with the frames it is the tensor product with all spherical harmonics of the edge: its paths ``(l_1, l_2,
    l_3)`` of even sum make up V, and those of odd sum W. Weights are drawn such that entries of variance 1 keep it.

    Args:
        channels_in: Channels of the input.
        channels_out: Channels of the output.
        lmax: The highest degree.
        mmax: The highest order.
        o3: Whether reflections are respected, too, by features of natural parity: then ``W = 0``. If not, parity is
            mixed, as in the published networks.
        bias: Whether a bias is added to degree 0.

    Attributes:
        num_scalars: How many rows the ``scalars`` have: one for each degree of each order ``m >= 0``.

    Source: Passaro & Zitnick 2023, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs, section 4.
    """

    def __init__(
        self, channels_in: int, channels_out: int, lmax: int, mmax: int, o3: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        if min(channels_in, channels_out) < 1:
            raise ValueError(f"SO2Linear: expected positive channels, but got {channels_in} and {channels_out}.")
        self.channels_in, self.channels_out, self.lmax, self.mmax, self.o3 = channels_in, channels_out, lmax, mmax, o3
        self._counts = EdgeLayout(lmax, mmax).counts
        self.num_scalars = sum(self._counts)
        weights = []
        for m, count in enumerate(self._counts):
            parts = 2 if m and not o3 else 1
            weight = torch.randn(parts, count * channels_in, count * channels_out)
            weights.append(nn.Parameter(weight / (parts * count * channels_in) ** 0.5))
        self.weights = nn.ParameterList(weights)
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None

    def forward(
        self,
        x: Float[Tensor, "edges rows channels_in"],
        scalars: Float[Tensor, "edges num_scalars channels_in"] | None = None,
    ) -> Float[Tensor, "edges rows channels_out"]:
        """Return the mixed features; ``scalars``, such as functions of the length, first scale the rows m and -m."""
        first, *rest = self._counts
        blocks = x.split([first, *(2 * count for count in rest)], 1)
        if scalars is not None:
            blocks = tuple(
                (block.unflatten(1, (-1, count)) * scale.unsqueeze(1)).flatten(1, 2)
                for block, scale, count in zip(blocks, scalars.split(self._counts, 1), self._counts, strict=True)
            )
        zero, *others = (block.flatten(1) for block in blocks)
        mixed = [zero @ self.weights[0][0]]
        if self.bias is not None:
            mixed[0] = mixed[0] + nn.functional.pad(self.bias, (0, self.lmax * self.channels_out))
        mixed += [self._turned(block, self.weights[m]) for m, block in enumerate(others, 1)]
        return torch.cat(mixed, 1).unflatten(1, (-1, self.channels_out))

    def _turned(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return ``(x_m, x_{-m})`` times a complex matrix."""
        if self.o3:
            return (x.unflatten(1, (2, -1)) @ weight[0]).flatten(1)
        real, imaginary = weight
        return x @ torch.cat([torch.cat([real, imaginary], 1), torch.cat([-imaginary, real], 1)])

    def extra_repr(self) -> str:
        """Return the sizes."""
        sizes = f"{self.channels_in}, {self.channels_out}, lmax={self.lmax}, mmax={self.mmax}"
        return f"{sizes}, o3={self.o3}, bias={self.bias is not None}"
