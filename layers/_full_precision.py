"""The number format in which layers of matrices compute."""

import torch
from torch import nn


class FullPrecision(nn.Module):
    """A layer whose ``forward``, decorated with ``full_precision``, computes in float32 at least, under autocast, too.

    The rounding of a half format (0.4 % of the largest eigenvalue) would make covariances indefinite.
    """

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the format in which inputs of ``dtype`` are computed."""
        return torch.promote_types(dtype, torch.float32)
