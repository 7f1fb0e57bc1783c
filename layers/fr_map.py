"""The linear map of subspaces."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds import StiefelEuclidean, register_manifold
from isometry.manifolds._precision import full_precision


class FRMap(FullPrecision):
    r"""The full-rank linear map of frames, ``Y = W^T X`` with orthonormal columns in W.

    Y spans the image of the space of X, but is no orthonormal frame of it (``ReOrth``). W is a point of the Stiefel
    manifold: another basis of its columns is a rotation of all Y.

    Args:
        in_features: n, the rows of X.
        out_features: m < n, the rows of Y.
        channels: None for one W that the whole batch shares; else how many W there are, one for each channel of
            ``[*b, channels, n, k]``, or all for the one of ``[*b, 1, n, k]``.
        dtype: Of the weight.
        device: Of the weight.

    Raises:
        ValueError: If ``out_features`` is not between 1 and ``in_features - 1``.

    Source: Huang, Wu & Van Gool 2018, Building deep networks on Grassmann manifolds, projection block.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        channels: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= out_features < in_features:
            raise ValueError(
                f"FRMap: expected 1 <= out_features < in_features, but got out_features={out_features} and "
                f"in_features={in_features}; W has independent columns, and a square one would map nothing away."
            )
        self.in_features, self.out_features, self.channels = in_features, out_features, channels
        manifold = StiefelEuclidean(in_features, out_features)
        shape = (in_features, out_features) if channels is None else (channels, in_features, out_features)
        self.weight = nn.Parameter(manifold.random(*shape, dtype=dtype, device=device))
        register_manifold(self, "weight", manifold)

    @full_precision
    def forward(self, x: Float[Tensor, "*b n k"]) -> Float[Tensor, "*d m k"]:
        """Return ``W^T x``."""
        return self.weight.to(x.dtype).mT @ x

    def extra_repr(self) -> str:
        """Return the sizes."""
        channels = "" if self.channels is None else f", channels={self.channels}"
        return f"{self.in_features}, {self.out_features}{channels}"
