"""A network of subspaces."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers import FRMap, OrthMap, ProjectionPooling, ProjMap, ReOrth, Vectorize


class GrNet(nn.Module):
    r"""Subspaces mapped to smaller spaces and pooled, then classified linearly by their projectors.

    ``[FRMap, ReOrth, ProjMap, ProjectionPooling, OrthMap] ... ProjMap -> vector -> Linear``. The first block maps each
    subspace by ``channels`` matrices; each block leaves ``1 / pool`` of its channels and ``1 / patch`` of its rows.

    Args:
        sizes: Dimensions of the spaces: of the input, and after the linear map of each block. With ``patch`` a block
            takes ``size / patch`` of the one before.
        subspace_dim: k, the dimension of the subspaces, throughout.
        num_classes: Number of logits.
        channels: Number of linear maps in the first block.
        pool: How many neighbouring channels each block pools.
        patch: How many neighbouring rows and columns each block pools.
        dtype: Of the parameters.

    Raises:
        ValueError: If there are fewer than two sizes, a space has not more than k dimensions, or the channels or rows
            of a block are no multiple of what it pools.

    Source: Huang, Wu & Van Gool 2018, Building deep networks on Grassmann manifolds.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        subspace_dim: int,
        num_classes: int,
        *,
        channels: int = 8,
        pool: int = 2,
        patch: int = 1,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"GrNet: expected the size of the input and of at least one block, but got {sizes}.")
        blocks: list[nn.Module] = []
        rows = sizes[0]
        for size in sizes[1:]:
            if channels % pool or size % patch or size // patch <= subspace_dim:
                raise ValueError(
                    f"GrNet: expected a block whose {channels} channels are a multiple of pool={pool} and whose {size} "
                    f"rows are a multiple of patch={patch}, more than {subspace_dim} after pooling."
                )
            blocks += [FRMap(rows, size, channels=channels, dtype=dtype), ReOrth(), ProjMap()]
            blocks += [ProjectionPooling(pool, patch), OrthMap(subspace_dim)]
            channels, rows = channels // pool, size // patch
        self.features = nn.Sequential(*blocks, ProjMap(), Vectorize(rows), nn.Flatten(-2))
        self.classifier = nn.Linear(channels * rows * (rows + 1) // 2, num_classes, dtype=dtype)

    def forward(self, x: Float[Tensor, "*b n k"]) -> Float[Tensor, "*b num_classes"]:
        """Return the logits of the subspaces with frames ``x``."""
        return self.classifier(self.features(x.unsqueeze(-3)))
