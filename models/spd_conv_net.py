"""A convolutional network of signals that ends in their covariance."""

from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers import CovariancePooling
from isometry.manifolds import Manifold
from isometry.models._signal_features import signal_features
from isometry.models.spdnet import SPDNet


class SPDConvNet(nn.Module):
    r"""Convolutions in space and time, the covariance of what they give, and an SPDNet of it.

    ``signals [b, channels, t] -> Conv, BatchNorm, Conv, BatchNorm -> covariance -> SPDNet -> logits``. With the
    defaults it is the network for MAMEM-SSVEP-II (8 electrodes, 125 samples, 5 classes).

    Args:
        channels: Electrodes.
        num_classes: Number of logits.
        filters: Spatial filters, and filters in time, whose covariance is taken.
        kernel: Samples that a filter in time sees.
        sizes: Rows of the matrix after each bilinear map.
        batch_norm: The geometry of the batch norm of matrices; None for none.
        shrinkage: Of the covariance, in units of its mean eigenvalue.
        eps: The least eigenvalue that a rectifier leaves.

    Source: Wang et al. 2025, Learning to normalize on the SPD manifold under Bures-Wasserstein geometry; the
    convolutions are those of Pan et al. 2022.
    """

    def __init__(
        self,
        channels: int = 8,
        num_classes: int = 5,
        *,
        filters: tuple[int, int] = (125, 15),
        kernel: int = 36,
        sizes: tuple[int, ...] = (12,),
        batch_norm: Manifold | None = None,
        shrinkage: float = 1e-5,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.convolutions = signal_features(channels, filters, kernel)
        self.pooling = CovariancePooling(shrinkage)
        self.spdnet = SPDNet((filters[1], *sizes), num_classes, batch_norm=batch_norm, eps=eps)

    def forward(self, x: Float[Tensor, "b channels t"]) -> Float[Tensor, "b num_classes"]:
        """Return the logits of signals ``x``."""
        return self.spdnet(self.pooling(self.convolutions(x)))
