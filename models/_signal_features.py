"""The convolutions that make features of multi-channel signals."""

from torch import nn


def signal_features(channels: int, filters: tuple[int, int], kernel: int) -> nn.Sequential:
    """Return spatial filters and filters in time, each with batch norm: ``[b, channels, t] -> [b, filters[1], t']``.

    ``Conv1d`` over time is the published ``Conv2d`` of ``(channels, 1)`` and ``(1, kernel)`` on an image
    ``[1, channels, t]``, with the same initialisation, less the biases, which the batch norms subtract.

    Source: Wei et al. 2019, Spatial component-wise convolutional network (SCCNet) for motor-imagery EEG classification.
    """
    return nn.Sequential(
        nn.Conv1d(channels, filters[0], 1, bias=False),
        nn.BatchNorm1d(filters[0]),
        nn.Conv1d(filters[0], filters[1], kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm1d(filters[1]),
    )
