"""Points on a manifold whose curvature is trained by the same optimizer.

Points stay fixed in unit-curvature coordinates ``z`` while the curvature parameters ``theta`` move: the variables of a
step are ``z`` and ``theta``. So the points follow a change of curvature, ``x(theta) = rescale(x, c_old)``, and the
gradient of ``theta`` is that at fixed ``z``, ``dL/dtheta + <dL/dx, dx/dtheta>``: for the hyperbolic models
``dL/dc|_z = dL/dc|_x - <dL/dx, x>/(2c)``. The moments of a point keep their coordinates.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from isometry.manifolds import Manifold
from isometry.trainers.optim._sharded import is_cut, opened, shared_like, total, whole, write


class TrainedCurvature(NamedTuple):
    """A manifold, the points on it and its curvature parameters by name, all in one optimizer."""

    manifold: Manifold
    points: list[Tensor]
    parameters: dict[str, Tensor]

    def follow(self, c_old: Any) -> None:
        """Move the points from the curvature ``c_old`` to the present one."""
        manifold = whole(self.manifold)
        for p in self.points:
            cut = is_cut(p, manifold.ndim)
            write(p, manifold.rescale(opened(p, cut), c_old), cut)

    def pulls(self) -> list[tuple[Tensor, Tensor]]:
        """Return ``<dL/dx, dx/dtheta>`` with each curvature parameter ``theta`` that has a gradient."""
        moving = [name for name, theta in self.parameters.items() if theta.grad is not None]
        live = [(p, p.grad) for p in self.points if p.grad is not None]
        if not moving:
            return []
        manifold = whole(self.manifold)
        found, c_old = dict(manifold.named_parameters()), manifold.c
        pulls = []
        # What the processes hold of sharded points adds up; everything else is the same on all of them.
        for partial in (False, True):
            chosen = [(p, g, is_cut(p, manifold.ndim)) for p, g in live]
            chosen = [(p, g, cut) for p, g, cut in chosen if partial is (isinstance(p, DTensor) and not cut)]
            if not chosen:
                continue
            with torch.enable_grad():
                pairs = [_entries(opened(p.detach(), cut), opened(g, cut)) for p, g, cut in chosen]
                work = torch.stack([(g * manifold.rescale(x, c_old)).sum() for x, g in pairs]).sum()
                if not work.requires_grad:  # a metric whose change leaves the points where they are
                    continue
                slopes = torch.autograd.grad(work, [found[name] for name in moving], allow_unused=True)
            p, _, cut = chosen[0]
            for name, slope in zip(moving, slopes, strict=True):
                if slope is None:
                    continue
                theta = self.parameters[name]
                pulls.append((theta, shared_like(total(slope, p, cut), theta)))
        return pulls


def trained_curvatures(manifolds: dict[Tensor, Any], params: Sequence[Tensor]) -> list[TrainedCurvature]:
    """Return the manifolds of ``manifolds`` (by parameter) whose curvature is among ``params``."""
    ours = set(params)
    found: dict[int, TrainedCurvature] = {}
    for p, manifold in manifolds.items():
        if id(manifold) in found:
            found[id(manifold)].points.append(p)
        elif isinstance(manifold, Manifold):
            parameters = {name: theta for name, theta in manifold.named_parameters() if theta in ours}
            if parameters:
                found[id(manifold)] = TrainedCurvature(manifold, [p], parameters)
    return list(found.values())


def curvature_gradients(trained: list[TrainedCurvature]) -> dict[Tensor, Tensor]:
    """Return the gradient of each curvature parameter at fixed unit-curvature coordinates of all points."""
    gradients: dict[Tensor, Tensor] = {}
    for theta, pull in [pair for curvature in trained for pair in curvature.pulls()]:
        before = gradients.get(theta, theta.grad)
        gradients[theta] = pull if before is None else before + pull
    return gradients


def _entries(x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points that have gradients, and the gradients."""
    return (x.index_select(0, g._indices()[0]), g._values()) if g.is_sparse else (x, g)
