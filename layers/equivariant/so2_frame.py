"""From space to the frames of edges."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.equivariant.edge_frame import edge_frame
from isometry.layers.equivariant.layout import EdgeLayout
from isometry.layers.equivariant.wigner import WignerD


class SO2Frame(nn.Module):
    r"""The matrices ``F = P D(R)`` that take spherical features to the frames of edges, where SO(2) layers work.

    R turns the edge to the polar axis (``edge_frame``), so that turns about the edge act on the orders m alone, and P
    keeps the rows of ``EdgeLayout``. What is left out above ``mmax`` costs no equivariance. The matrices are computed
    once and shared by all layers: ``F @ x[source]`` goes into the frames, and ``F.mT @ y`` back.

    Args:
        lmax: The highest degree.
        mmax: The highest order kept.

    Source: Passaro & Zitnick 2023, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs.
    """

    def __init__(self, lmax: int, mmax: int) -> None:
        super().__init__()
        self.lmax, self.mmax = lmax, mmax
        layout = EdgeLayout(lmax, mmax)
        self._rows = list(zip(layout.degrees.tolist(), layout.rows.tolist(), strict=True))
        self.wigner = WignerD(lmax)

    def forward(
        self, vec: Float[Tensor, "edges 3"], roll: Float[Tensor, " edges"] | None = None
    ) -> Float[Tensor, "edges rows size"]:
        """Return the matrices of the edges ``vec``; ``roll`` is that of ``edge_frame``."""
        blocks = self.wigner(edge_frame(vec, roll))
        rows = []
        for degree, row in self._rows:
            before, end, size = degree**2, (degree + 1) ** 2, (self.lmax + 1) ** 2
            rows.append(nn.functional.pad(blocks[degree][:, row - before], (before, size - end)))
        return torch.stack(rows, 1)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"lmax={self.lmax}, mmax={self.mmax}"
