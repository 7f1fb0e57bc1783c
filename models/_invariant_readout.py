"""What networks of atoms are read out from: numbers that no rotation changes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.equivariant import SphericalLayout


class InvariantReadout(nn.Module):
    r"""A small network of each atom's rotation invariants: its scalars, and the mean square of each higher degree.

    .. math:: y_i = \operatorname{MLP}\Bigl(\operatorname{LayerNorm}\bigl[x_{i,0c},\;
        \tfrac{1}{2l+1} \textstyle\sum_m x_{i,lmc}^2\bigr]_{l \ge 1, c}\Bigr)

    One hidden layer of ``channels`` SiLU units.

    Args:
        layout: Of the features.
        channels: Of the features.
        outputs: Numbers for each atom.

    Source: Simeon & De Fabritiis 2023, TensorNet, section 3.2 (squared norms, layer norm, perceptron).
    """

    def __init__(self, layout: SphericalLayout, channels: int, outputs: int) -> None:
        super().__init__()
        self.layout = layout
        invariants = (layout.lmax + 1) * channels
        self.mlp = nn.Sequential(
            nn.LayerNorm(invariants), nn.Linear(invariants, channels), nn.SiLU(), nn.Linear(channels, outputs)
        )

    def forward(self, x: Float[Tensor, "n size channels"]) -> Float[Tensor, "n outputs"]:
        """Return the numbers of each atom."""
        degrees = x.split([2 * degree + 1 for degree in range(self.layout.lmax + 1)], 1)
        return self.mlp(torch.cat([degrees[0].squeeze(1), *(part.square().mean(1) for part in degrees[1:])], 1))
