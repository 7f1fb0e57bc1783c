"""The geometry of one optimizer step on the Grassmann manifold."""

import torch
from torch import Tensor

from isometry.trainers.optim._local import LocalGeometry, Rate, shifted


class LocalGrassmann(LocalGeometry):
    r"""Subspaces, with the retraction to the subspace of ``x + u``.

    Any frame of that subspace is its point, so Cholesky's factor of ``(x + u)^T (x + u) = L L^T`` takes the place of a
    square root: ``y = (x + u) L^-T``. The parallel transport of a vector along its own geodesic has no root either: in
    the frame y, ``v`` becomes ``(v - rate x v^T v) L^-T``.
    """

    def gradient(self, g: Tensor) -> Tensor:
        """Return ``g - x x^T g``."""
        return g - self.x @ (self.x.mT @ g)

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``tr(r^T r)``."""
        return torch.linalg.matrix_norm(r, keepdim=True).square()

    def move(self, v: Tensor, rate: Rate) -> Tensor:
        """Return the frame ``y`` for the velocity ``rate v``."""
        y = shifted(self.x, v, rate)
        return y @ _inverse_factor(y)

    def move_along(self, v: Tensor, rate: Rate) -> tuple[Tensor, Tensor]:
        """Return the frame ``y`` and ``v`` transported to it."""
        y = shifted(self.x, v, rate)
        frame = _inverse_factor(y)
        return y @ frame, (v - rate * (self.x @ (v.mT @ v))) @ frame


def _inverse_factor(y: Tensor) -> Tensor:
    """Return ``L^-T`` of ``y^T y = L L^T``; NaN where ``y`` has NaN."""
    lower, info = torch.linalg.cholesky_ex(y.mT @ y)
    eye = torch.eye(y.shape[-1], dtype=y.dtype, device=y.device)
    inverse = torch.linalg.solve_triangular(lower, eye, upper=False).mT
    return torch.where(info[..., None, None] == 0, inverse, torch.nan)
