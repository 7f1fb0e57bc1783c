"""The geometry of one optimizer step on the Stiefel manifold."""

from typing import Any

import torch
from torch import Tensor

from isometry.trainers.optim._local import LocalGeometry, Rate


class LocalStiefel(LocalGeometry):
    r"""Orthonormal frames, with a retraction by one Cholesky factorisation for all points.

    With ``a = x^T u`` and the strict triangles of ``e = u^T u``, the point is the factor Q of ``x + w = Q R`` for::

        w = u + (1 - beta)(u - x a) a + x (upper(e) - lower(e))/2

    The second term follows the geodesics of the metric ``beta`` in place of the Euclidean ones, and the third undoes
    the turn by which Q differs from the nearest frame: it agrees with exp to the second order. Steps may have any
    length (``(x + w)^T (x + w) >= 1``); the end is orthonormal to ``(1 + |u|^2) eps``, whatever the start was.

    Vectors are transported by projection to the tangent space of the new point, not in parallel: equal to the first
    order in ``u``, never longer in the Euclidean metric, and without a logarithm.

    Source: Cholesky QR for the retraction: Sato & Aihara 2019; vector transport by projection: Absil et al. 2008,
    section 8.1.3.
    """

    def __init__(self, manifold: Any, x: Tensor) -> None:
        super().__init__(manifold, x)
        self.beta = manifold.beta

    def gradient(self, g: Tensor) -> Tensor:
        """Return ``g - x (x^T g - skew(x^T g)/beta)``."""
        along = self.x.mT @ g
        return g - self.x @ (along - (along - along.mT) * (0.5 / self.beta))

    def square(self, g: Tensor, r: Tensor) -> Tensor:
        """Return ``|r|_x^2 = <g, r>``, a number for each frame."""
        return (g * r).sum((-2, -1), keepdim=True)

    def move(self, v: Tensor, rate: Rate) -> Tensor:
        """Return the frame of the class docstring for the velocity ``rate v``."""
        u = rate * v
        column = torch.arange(u.shape[-1], dtype=u.dtype, device=u.device)
        turn = (u.mT @ u) * ((column - column.unsqueeze(-1)).sign() / 2)
        if self.beta != 1:
            a = self.x.mT @ u
            turn = turn - (1 - self.beta) * a @ a
            u = u + u @ ((1 - self.beta) * a)
        y = self.x + u + self.x @ turn
        factor = torch.linalg.cholesky_ex(y.mT @ y, upper=True).L  # no exception for a point that is NaN
        return torch.linalg.solve_triangular(factor, y, upper=True, left=False)

    def move_with(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frame for the velocity ``u``, and the part of ``v`` that is tangent there."""
        y = self.move(u, 1.0)
        along = y.mT @ v
        return y, v - y @ ((along + along.mT) / 2)
