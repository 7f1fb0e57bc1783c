"""The Frechet mean on any manifold, differentiable through the optimum."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isometry.manifolds._precision import captured

if TYPE_CHECKING:
    from isometry.manifolds.base import Manifold

_KARCHER_STEPS = 128
_KARCHER_TOLERANCE = 1e-4


def frechet_mean(manifold: "Manifold", x: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Return ``argmin_mu sum_i w_i d(mu, x_i)^2``, where ``F(mu) = sum_i w_i log_mu(x_i) = 0``.

    Karcher's iteration with an adaptive step comes close, then Newton's on F. The last two Newton steps are
    recorded by autograd: as each doubles the order of contact with the solution, the first and second derivatives
    with respect to ``x`` and ``weights`` are those of the implicit function theorem, exactly.

    Args:
        manifold: Any manifold; on one that is not Hadamard the points should lie in a ball of half the convexity
            radius, else the result is the local minimizer near the first point.
        x: Points ``[*b, n, *point_shape]``.
        weights: Non-negative ``[*b, n]``, normalised here; uniform if omitted.

    Returns:
        Means ``[*b, *point_shape]``.

    Source: Karcher 1977; Pennec 2006, section 4; implicit differentiation as in Lou et al. 2020.
    """
    manifold.check_shape(x)
    batch = x.shape[: x.ndim - manifold.ndim]
    if not batch or batch[-1] == 0:
        raise ValueError(
            f"frechet_mean: expected points [*batch, n >= 1, {manifold.point_shape}], got {tuple(x.shape)}."
        )
    w = x.new_ones(batch[-1:]) if weights is None else weights
    w = (w / w.sum(-1, keepdim=True)).expand(batch)

    dtype = manifold.compute_dtype(x.dtype)
    points, w = x.to(dtype), w.to(dtype)
    with torch.no_grad():
        mean = _karcher(manifold, points, w)
        for _ in range(2):
            mean = _newton(manifold, mean, points, w)
    for _ in range(2):
        mean = _newton(manifold, mean, points, w)
    return manifold.projx(mean.to(x.dtype))


def _field(manifold: "Manifold", mean: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """Return ``F(mean)``, minus half the gradient of the objective."""
    axis = -1 - manifold.ndim
    logs = manifold.logmap(mean.unsqueeze(axis), x)
    return (w.reshape(w.shape + (1,) * manifold.ndim) * logs).sum(axis)


def _karcher(manifold: "Manifold", x: Tensor, w: Tensor) -> Tensor:
    mean = x.select(-1 - manifold.ndim, 0)
    step = torch.ones_like(w[..., 0])
    field = _field(manifold, mean, x, w)
    size = manifold.norm(mean, field)
    stop = _KARCHER_TOLERANCE * size
    # The number of steps may depend on the data only where there is data: not while a graph is being captured.
    adaptive = not captured()
    for _ in range(_KARCHER_STEPS):
        if adaptive and bool((size <= stop).all()):
            break
        trial = manifold.expmap(mean, _like_point(step, manifold) * field)
        trial_field = _field(manifold, trial, x, w)
        trial_size = manifold.norm(trial, trial_field)
        better = trial_size < size
        mean = torch.where(_like_point(better, manifold), trial, mean)
        field = torch.where(_like_point(better, manifold), trial_field, field)
        size = torch.where(better, trial_size, size)
        step = torch.where(better, (1.5 * step).clamp(max=1), step / 2)
    return mean


def _like_point(value: Tensor, manifold: "Manifold") -> Tensor:
    return value.reshape(value.shape + (1,) * manifold.ndim)


def _newton(manifold: "Manifold", mean: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """Return ``exp_mean(-(DF)^{-1} F)``, the linear system solved in the ambient space with the normal part pinned."""
    shape, n = manifold.point_shape, x.shape[-1 - manifold.ndim]
    size = mean.shape[mean.ndim - manifold.ndim :].numel()
    flat = (mean.reshape(-1, *shape), x.reshape(-1, n, *shape), w.reshape(-1, n))

    def direction(mu: Tensor, points: Tensor, weight: Tensor) -> Tensor:
        eye = torch.eye(size, dtype=mu.dtype, device=mu.device).reshape(size, *shape)
        project = manifold.proju(mu, eye).reshape(size, size).mT
        slope = torch.func.jacrev(lambda m: _field(manifold, m, points, weight))(mu).reshape(size, size)
        system = project @ slope @ project - (torch.eye(size, dtype=mu.dtype, device=mu.device) - project)
        return -torch.linalg.solve(system, _field(manifold, mu, points, weight).reshape(size)).reshape(shape)

    step = torch.func.vmap(direction)(*flat).reshape(mean.shape)
    return manifold.expmap(mean, manifold.proju(mean, step))
