"""The matrix exponential, around a fault of torch's."""

import torch
from torch import Tensor


def matrix_exp(x: Tensor) -> Tensor:
    """Return ``exp x`` of square matrices ``[*b, n, n]``, real or complex.

    ``torch.linalg.matrix_exp`` (2.13) is wrong by up to 1e-10 in float64 for one matrix alone of 1-norm between 3e-4
    and 0.05, and right for two or more: a single matrix is computed twice.
    """
    if x.shape[:-2].numel() != 1:
        return torch.linalg.matrix_exp(x)
    return torch.linalg.matrix_exp(x.reshape(1, *x.shape[-2:]).repeat(2, 1, 1))[0].reshape(x.shape)
