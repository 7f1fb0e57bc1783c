"""A network of covariance matrices."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers import BatchNorm, BiMap, LogEig, ReEig, Vectorize
from isometry.manifolds import Manifold


class SPDNet(nn.Module):
    r"""Covariance matrices made smaller by bilinear maps, then classified linearly by their logarithm.

    ``[BiMap, BatchNorm, ReEig] ... [BiMap, BatchNorm, LogEig] -> vector -> Linear``, the batch norm being optional. The
    last logarithm rectifies, too (``log max(L, eps)``), with the same decomposition.

    Args:
        sizes: Rows of the matrices, not increasing: of the input, and after each bilinear map.
        num_classes: Number of logits.
        batch_norm: The geometry of a batch norm after each bilinear map: one of any size, from which ``with_dim`` makes
            the others, or one for each map. None for no batch norm.
        eps: The least eigenvalue that a rectifier leaves.
        dtype: Of the parameters.

    Raises:
        ValueError: If there are fewer than two sizes, one increases, or the manifolds are not as many as the maps.

    Source: Huang & Van Gool 2017, A Riemannian network for SPD matrix learning; with batch norm: Brooks et al. 2019
    (affine-invariant), Wang et al. 2025 (Bures-Wasserstein).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        num_classes: int,
        *,
        batch_norm: Manifold | Sequence[Manifold] | None = None,
        eps: float = 1e-4,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"SPDNet: expected the size of the input and of at least one layer, but got {sizes}.")
        maps = len(sizes) - 1
        norms: Sequence[Manifold | None]
        if isinstance(batch_norm, Manifold):
            norms = [batch_norm.with_dim(k * (k + 1) // 2) for k in sizes[1:]]
        else:
            norms = [None] * maps if batch_norm is None else batch_norm
        if len(norms) != maps:
            raise ValueError(
                f"SPDNet: expected one manifold, or one for each of {maps} bilinear maps, but got {len(norms)}."
            )
        blocks: list[nn.Module] = []
        for (n, k), manifold in zip(pairwise(sizes), norms, strict=True):
            blocks.append(BiMap(n, k, dtype=dtype))
            if manifold is not None:
                blocks.append(BatchNorm(manifold, dtype=dtype))
            blocks.append(ReEig(eps))
        blocks[-1] = LogEig(eps)
        self.features = nn.Sequential(*blocks, Vectorize(sizes[-1]))
        self.classifier = nn.Linear(sizes[-1] * (sizes[-1] + 1) // 2, num_classes, dtype=dtype)

    def forward(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b num_classes"]:
        """Return the logits of covariance matrices ``x``."""
        return self.classifier(self.features(x))
