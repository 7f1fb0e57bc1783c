"""The relaxed penalty of a matrix for not being orthogonal."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.manifolds._smooth import safe_sqrt


class LambdaOrthogonality(nn.Module):
    r"""``sigmoid(alpha (r - lambda)) r`` with ``r = |W W^T - I|``: free to depart from a rotation by about ``lambda``.

    Added to the loss by which an affine map adapts one representation to another. ``lambda = 0`` penalises every
    departure, a large one none. The gradient at an orthogonal W is 0.

    Args:
        threshold: The departure lambda, in the Frobenius norm, at least 0.
        sharpness: The positive alpha with which the penalty sets in.

    Source: Ricci et al. 2025, Lambda-orthogonality regularization for compatible representation learning.
    """

    def __init__(self, threshold: float, sharpness: float = 10.0) -> None:
        super().__init__()
        if not 0 <= threshold < math.inf:
            raise ValueError(f"LambdaOrthogonality: expected a threshold >= 0, but got {threshold}.")
        if not 0 < sharpness < math.inf:
            raise ValueError(f"LambdaOrthogonality: expected a positive sharpness, but got {sharpness}.")
        self.threshold, self.sharpness = threshold, sharpness

    def forward(self, weight: Float[Tensor, "n m"]) -> Float[Tensor, ""]:
        """Return the penalty of a matrix ``W``."""
        eye = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        residual = safe_sqrt((weight @ weight.mT - eye).square().sum())
        return torch.sigmoid(self.sharpness * (residual - self.threshold)) * residual
