"""Manifold attention between the covariances of a signal's segments."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers import Attention, BiMap, CovariancePooling, LogEig, Vectorize
from isometry.manifolds import SPDLogEuclidean
from isometry.models._signal_features import signal_features


class MAtt(nn.Module):
    r"""Convolutions in space and time, the covariance of each segment, attention between them, and a linear map.

    ``signals [b, channels, t] -> Conv, BatchNorm, Conv, BatchNorm -> covariances [b, segments, f, f] -> Attention ->
    log max(L, eps) -> Linear``. Queries, keys and values are bilinear maps of the covariances, which have unit trace;
    attention takes log-Euclidean distances and means. With the defaults it is the network for MAMEM-SSVEP-II.

    Args:
        channels: Electrodes.
        num_classes: Number of logits.
        segments: Number of segments of (nearly) equal length.
        filters: Spatial filters, and filters in time, whose covariances are taken.
        kernel: Samples that a filter in time sees.
        size: Rows of queries, keys and values.
        shrinkage: Of the covariances, in units of their mean eigenvalue; positive if a segment has fewer samples than
            there are filters.
        eps: The least eigenvalue that the rectifier leaves.

    Raises:
        ValueError: If there is no segment.

    Source: Pan, Chou & Wei 2022, MAtt: a manifold attention network for EEG decoding.
    """

    def __init__(
        self,
        channels: int = 8,
        num_classes: int = 5,
        *,
        segments: int = 7,
        filters: tuple[int, int] = (125, 15),
        kernel: int = 36,
        size: int = 12,
        shrinkage: float = 1e-4,
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        if segments < 1:
            raise ValueError(f"MAtt: expected at least one segment, but got segments={segments}.")
        self.segments = segments
        self.convolutions = signal_features(channels, filters, kernel)
        self.pooling = CovariancePooling(shrinkage, unit_trace=True)
        query, key, value = (BiMap(filters[1], size) for _ in range(3))
        self.attention = Attention(SPDLogEuclidean(size), query, key, value)
        self.tangent = nn.Sequential(LogEig(eps), Vectorize(size), nn.Flatten())
        self.classifier = nn.Linear(segments * size * (size + 1) // 2, num_classes)

    def forward(self, x: Float[Tensor, "b channels t"]) -> Float[Tensor, "b num_classes"]:
        """Return the logits of signals ``x``."""
        parts = self.convolutions(x).tensor_split(self.segments, -1)
        covariances = torch.stack([self.pooling(part) for part in parts], 1)
        return self.classifier(self.tangent(self.attention(covariances)))
