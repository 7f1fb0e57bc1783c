"""Covariances of sequences of any lengths."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers import CovariancePooling


def covariances(
    sequences: Sequence[Float[Tensor, "c _"]], shrinkage: float | Literal["ledoit-wolf"] = 0.0
) -> Float[Tensor, "s c c"]:
    r"""Return each sequence's sample covariance, centred in time, as ``CovariancePooling`` does in a network.

    .. math:: C = (1 - a) S + a \frac{\operatorname{tr} S}{c} I, \qquad
        S = \frac{1}{T - 1} \sum_{t=1}^T (x_t - \bar x)(x_t - \bar x)^\top

    Args:
        sequences: Of c channels and T times each; T may differ.
        shrinkage: a, in [0, 1), or how it is estimated. S is singular if T <= c, which needs a > 0.

    Raises:
        ValueError: If the shrinkage is out of its range, or a sequence is too short for it.

    Source: Ledoit & Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices, equation 3.
    """
    pool = CovariancePooling(shrinkage)
    return torch.stack([pool(sequence) for sequence in sequences])
