"""A network between functions."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from isometry.layers.tensor.spectral_conv import SpectralConv
from isometry.manifolds.low_rank.base import Ranks


class FNOBlock(nn.Module):
    """``x -> act(K x + W x)``: a spectral convolution K, and a matrix W at each point (the skip connection).

    Args:
        conv: K.
        activation: Whether the nonlinearity (GELU) follows.
    """

    def __init__(self, conv: SpectralConv, activation: bool) -> None:
        super().__init__()
        self.conv, self.activation = conv, activation
        self.skip = nn.Conv1d(conv.in_channels, conv.out_channels, 1, bias=False)

    def forward(self, x: Float[Tensor, "b w *n"]) -> Float[Tensor, "b w *n"]:
        """Return the new functions."""
        y = self.conv(x) + self.skip(x.flatten(2)).view_as(x)
        return F.gelu(y) if self.activation else y


class FNO(nn.Module):
    r"""Fourier neural operator: functions on a grid of [0, 1]^d to functions on the same grid, whatever its size.

    Lifting of the values and coordinates of each point to ``width`` channels, ``layers`` blocks ``gelu(K x + W x)``,
    and a projection of each point's channels. K is a ``SpectralConv``, dense or in factors. Functions need not be
    periodic: the domain may be padded with zeros, a fraction of its size in each dimension, during the blocks.

    Args:
        modes: Frequencies that are kept in each of one to three dimensions, see ``SpectralConv``.
        in_channels: Components of the input.
        out_channels: Components of the output.
        width: Channels in between; lifting and projection have twice as many hidden ones.
        layers: Number of blocks.
        format: Of the spectral weights, "tucker", "cp" or "tt"; None for dense.
        rank: Their ranks.
        budget: Instead of ``rank``: the largest number of real parameters of each spectral weight.
        padding: Fraction of each size that is added at the end.

    Raises:
        ValueError: If a size is out of its range.

    Source: Li et al. 2021, Fourier neural operator for parametric partial differential equations; factors: Kossaifi et
    al. 2024, Multi-grid tensorized Fourier neural operator for high-resolution PDEs.
    """

    def __init__(
        self,
        modes: Sequence[int],
        in_channels: int,
        out_channels: int,
        width: int = 32,
        layers: int = 4,
        *,
        format: str | None = None,
        rank: Ranks | None = None,
        budget: int | None = None,
        padding: float = 0.0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, layers) < 1 or padding < 0:
            raise ValueError(
                "FNO: expected positive channels and layers and no negative padding, but got "
                f"{in_channels}, {out_channels}, {layers} and {padding}."
            )
        self.in_channels, self.dimension, self.padding = in_channels, len(modes), padding
        self.lifting = _pointwise(in_channels + self.dimension, 2 * width, width)
        self.blocks = nn.ModuleList(
            FNOBlock(SpectralConv(width, width, modes, format=format, rank=rank, budget=budget), k < layers - 1)
            for k in range(layers)
        )
        self.projection = _pointwise(width, 2 * width, out_channels)

    def forward(self, x: Float[Tensor, "b i *n"]) -> Float[Tensor, "b o *n"]:
        """Return the output functions of input functions, by their values at the points ``j / n`` of a grid."""
        sizes = x.shape[2:]
        if x.shape[1] != self.in_channels or len(sizes) != self.dimension:
            raise ValueError(
                f"FNO: expected [b, {self.in_channels}, ...] with {self.dimension} dimensions of a grid, but got "
                f"{list(x.shape)}."
            )
        axes = [torch.arange(n, dtype=x.dtype, device=x.device) / n for n in sizes]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(x), *[-1] * (1 + len(sizes)))
        y = self.lifting(torch.cat([x, places], 1).flatten(2)).unflatten(-1, sizes)
        added = [round(self.padding * n) for n in sizes]
        y = F.pad(y, [side for more in reversed(added) for side in (0, more)])
        for block in self.blocks:
            y = block(y)
        for axis, n in enumerate(sizes):
            y = y.narrow(2 + axis, 0, n)
        return self.projection(y.flatten(2)).unflatten(-1, sizes)


def _pointwise(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    """Return a network of the channels of each point."""
    return nn.Sequential(nn.Conv1d(in_channels, hidden, 1), nn.GELU(), nn.Conv1d(hidden, out_channels, 1))
