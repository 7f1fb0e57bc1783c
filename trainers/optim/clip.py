"""Clipping of gradients by their Riemannian norm."""

from typing import Any

import torch
from torch import Tensor, nn

from isometry.manifolds import named_manifolds
from isometry.trainers.optim._local_geometry import local_geometry
from isometry.trainers.optim._sharded import is_cut, opened, total, whole
from isometry.trainers.optim._sparse import touched_rows


@torch.no_grad()
def riemannian_grad_norm(module: nn.Module) -> Tensor:
    r"""Return ``sqrt(sum_p |grad p|_p^2)``, the norm of the gradient on the product of the manifolds of all parameters.

    The Euclidean norm of a gradient depends on the coordinates: at radius .999 in the Poincare ball it is a thousand
    times the Riemannian norm, so that clipping by it freezes the points near the boundary.

    Args:
        module: Its registered parameters (and geoopt's ManifoldParameters) are measured on their manifolds, the others
            in Euclidean space. Parameters without gradients are left out.
    """
    manifolds = {module.get_parameter(name): manifold for name, manifold in named_manifolds(module).items()}
    squares = [_square(p.detach(), p.grad, manifolds.get(p)) for p in module.parameters() if p.grad is not None]
    if not squares:
        return torch.zeros(())
    return torch.stack([s.to(squares[0].device) for s in squares]).sum().sqrt()


def _square(x: Tensor, g: Tensor, manifold: Any) -> Tensor:
    """Return ``|grad x|_x^2``, summed over points."""
    cut = manifold is not None and is_cut(x, manifold.ndim)
    points, gradients = opened(x, cut), opened(g, cut)
    if g.is_sparse:
        rows, gradients = touched_rows(g)
        points = x.index_select(0, rows)
    # df(grad f) = |grad f|^2 on every manifold
    local = local_geometry(None if manifold is None else whole(manifold), points)
    return total((gradients * local.gradient(gradients)).sum().clamp_min(0), x, cut)


@torch.no_grad()
def clip_riemannian_grad_norm_(module: nn.Module, max_norm: float, error_if_nonfinite: bool = False) -> Tensor:
    """Scale the gradients of ``module`` so that their Riemannian norm is at most ``max_norm``; return the norm before.

    Args:
        module: As for ``riemannian_grad_norm``.
        max_norm: The largest norm, positive.
        error_if_nonfinite: Raise if the norm is not finite, in place of spreading it over all gradients.

    Raises:
        ValueError: ``max_norm`` is not positive.
        RuntimeError: The norm is not finite, with ``error_if_nonfinite``.
    """
    if not max_norm > 0:
        raise ValueError(f"clip_riemannian_grad_norm_: expected max_norm > 0, but got {max_norm}.")
    norm = riemannian_grad_norm(module)
    if error_if_nonfinite and not norm.isfinite():
        raise RuntimeError(f"clip_riemannian_grad_norm_: the norm of the gradients is {norm.item()}.")
    scale = (max_norm / (norm + 1e-6)).clamp(max=1)
    for p in module.parameters():
        if p.grad is not None:
            opened(p.grad, cut=False).mul_(scale.to(p.grad.device))
    return norm
