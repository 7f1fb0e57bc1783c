"""Points on a manifold whose curvature is trained by the same optimizer.

Points stay fixed in unit-curvature coordinates ``z`` while the curvature parameters ``theta`` move: a step takes ``(z, theta)`` as its
variables. So the points follow a change of curvature, ``x(theta) = rescale(x, c_old)``, and the gradient of ``theta`` is that at
fixed ``z``, ``dL/dtheta + <dL/dx, dx/dtheta>``: for the hyperbolic models ``dL/dc|_z = dL/dc|_x - <dL/dx, x>/(2c)``.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isometry.manifolds import Manifold


class TrainedCurvature(NamedTuple):
    """A manifold, the points on it and its curvature parameters, all in one optimizer."""

    manifold: Manifold
    points: list[Tensor]
    parameters: list[Tensor]


def trained_curvatures(manifolds: dict[Tensor, Any], params: Sequence[Tensor]) -> list[TrainedCurvature]:
    """Return the manifolds of ``manifolds`` (by parameter) whose curvature is among ``params``."""
    ours = set(params)
    found: dict[int, TrainedCurvature] = {}
    for p, manifold in manifolds.items():
        if id(manifold) in found:
            found[id(manifold)].points.append(p)
        elif isinstance(manifold, Manifold):
            parameters = [theta for theta in manifold.parameters() if theta in ours]
            if parameters:
                found[id(manifold)] = TrainedCurvature(manifold, [p], parameters)
    return list(found.values())


def curvature_gradients(trained: list[TrainedCurvature]) -> dict[Tensor, Tensor]:
    """Return the gradient of each curvature parameter at fixed unit-curvature coordinates of all points."""
    gradients: dict[Tensor, Tensor] = {}
    for manifold, points, parameters in trained:
        moving = [theta for theta in parameters if theta.grad is not None]
        pairs = [_entries(p) for p in points if p.grad is not None]
        if not (moving and pairs):
            continue
        c_old = manifold.c
        with torch.enable_grad():
            work = torch.stack([(g * manifold.rescale(x, c_old)).sum() for x, g in pairs]).sum()
            pulls = torch.autograd.grad(work, moving)
        for theta, pull in zip(moving, pulls, strict=True):
            gradients[theta] = gradients.get(theta, theta.grad) + pull
    return gradients


def _entries(p: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points that have gradients and the gradients."""
    if not p.grad.is_sparse:
        return p.detach(), p.grad
    return p.detach().index_select(0, p.grad._indices()[0]), p.grad._values()
