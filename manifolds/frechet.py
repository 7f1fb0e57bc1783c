"""The Frechet mean on any manifold, differentiable through the optimum."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import grad, vjp

from isometry.manifolds._forward_mode import nestable
from isometry.manifolds._iterate import iterate

if TYPE_CHECKING:
    from isometry.manifolds.base import Manifold

_KARCHER_STEPS = 64
_CONJUGATE_STEPS = 64


def frechet_mean(manifold: "Manifold", x: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Return ``argmin_mu sum_i w_i d(mu, x_i)^2``, where ``F(mu) = sum_i w_i log_mu(x_i) = 0``.

    Karcher's iteration comes close and a Newton step arrives. Then two chord steps ``mu <- exp_mu(H^-1 F(mu))``, with
    the Hessian H held constant, are recorded by autograd: each raises by one the order to which the result agrees with
    the optimum as ``x`` and ``weights`` vary, so that its first and second derivatives are those of the implicit
    function theorem, exactly. They take no more derivatives of ``logmap`` than that. H is never formed: systems are
    solved by at most 64 conjugate gradients in the tangent space.

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
    data = (points.detach(), w.detach())
    with torch.no_grad():
        mean = _karcher(manifold, *data)
        mean = optimum = manifold.expmap(mean, _solve(manifold, mean, *data, _field(manifold, mean, *data)))
    for _ in range(2):
        step = _inverse_hessian(manifold, optimum, *data, _field(manifold, mean, points, w))
        mean = manifold.expmap(mean, manifold.proju(mean, step))
    return manifold.projx(mean.to(x.dtype))


def _field(manifold: "Manifold", mean: Tensor, x: Tensor, w: Tensor) -> Tensor:
    """Return ``F(mean)``, minus half the gradient of the objective."""
    axis = -1 - manifold.ndim
    return (_like_point(w, manifold) * manifold.logmap(mean.unsqueeze(axis), x)).sum(axis)


def _like_point(value: Tensor, manifold: "Manifold") -> Tensor:
    return value.reshape(value.shape + (1,) * manifold.ndim)


def _karcher(manifold: "Manifold", x: Tensor, w: Tensor) -> Tensor:
    """Return a point near the mean, from the first point by steps along F.

    The rate of a step is the inverse of the curvature that the step before it saw, ``<F, D>/|D|^2`` times that step's
    rate, with D the change of F (Barzilai & Borwein 1988). A step that does not shrink F is not taken, and the next is
    half as long.
    """

    def step(mean: Tensor, field: Tensor, size: Tensor, rate: Tensor) -> tuple[Tensor, ...]:
        trial = manifold.expmap(mean, _like_point(rate, manifold) * field)
        trial_field = _field(manifold, trial, x, w)
        trial_size = manifold.norm(trial, trial_field)
        change = field - manifold.transp(trial, mean, trial_field)
        slope, square = manifold.inner(mean, field, change), manifold.inner(mean, change)
        ratio = torch.where(slope > 0, slope / torch.where(square > 0, square, 1), 2).clamp(max=2)
        better = trial_size < size
        mean = torch.where(_like_point(better, manifold), trial, mean)
        field = torch.where(_like_point(better, manifold), trial_field, field)
        return mean, field, torch.where(better, trial_size, size), rate * torch.where(better, ratio, 0.5)

    mean = x.select(-1 - manifold.ndim, 0).clone()
    field = _field(manifold, mean, x, w)
    size = manifold.norm(mean, field)
    stop = torch.finfo(w.dtype).eps ** 0.5 * (w * manifold.dist(mean.unsqueeze(-1 - manifold.ndim), x)).sum(-1)
    start = (mean, field, size, torch.ones_like(size))
    return iterate(step, lambda mean, field, size, rate: size > stop, start, _KARCHER_STEPS)[0]


def _flat(manifold: "Manifold", x: Tensor, u: Tensor) -> Tensor:
    """Return the g with ``g . v = <u, proj_x v>_x`` for every ambient v: the inverse of ``egrad2rgrad``."""
    return grad(lambda v: manifold.inner(x, u, manifold.proju(x, v)).sum())(torch.zeros_like(u))


def _solve(manifold: "Manifold", mean: Tensor, x: Tensor, w: Tensor, rhs: Tensor) -> Tensor:
    """Return ``H^-1 rhs`` with ``H[v] = -proj DF[v]``, the Hessian of half the objective, by conjugate gradients.

    H is positive at the mean, and self-adjoint in the metric, so its adjoint, one pull-back through F, computes it.
    """

    def hessian() -> Callable[[Tensor], Tensor]:
        pull = vjp(lambda m: _field(manifold, m, x, w), mean)[1]
        return lambda v: -manifold.egrad2rgrad(mean, pull(_flat(manifold, mean, v))[0])

    # A compiled loop captures values, not the graph behind a pull-back.
    product = (lambda v: hessian()(v)) if torch.compiler.is_compiling() else hessian()

    def step(u: Tensor, residual: Tensor, direction: Tensor, square: Tensor) -> tuple[Tensor, ...]:
        image = product(direction)
        curvature = manifold.inner(mean, direction, image)
        live = (square > stop) & (curvature > 0)  # rows that are solved stay as they are
        rate = _like_point(torch.where(live, square / torch.where(live, curvature, 1), 0), manifold)
        u, residual = u + rate * direction, residual - rate * image
        new = manifold.inner(mean, residual)
        ratio = _like_point(torch.where(live, new / torch.where(live, square, 1), 0), manifold)
        return u, residual, residual + ratio * direction, new

    residual = manifold.proju(mean, rhs)
    square = manifold.inner(mean, residual)
    stop = torch.finfo(square.dtype).eps ** 2 * square
    start = (torch.zeros_like(residual), residual, residual.clone(), square)
    return iterate(step, lambda *state: state[-1] > stop, start, min(manifold.dim, _CONJUGATE_STEPS))[0]


class _InverseHessian(torch.autograd.Function):
    """``H^-1 rhs``, linear in ``rhs`` with H a constant; its Euclidean adjoint is ``flat H^-1 egrad2rgrad``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(manifold: "Manifold", mean: Tensor, x: Tensor, w: Tensor, rhs: Tensor) -> Tensor:
        return _solve(manifold, mean, x, w, rhs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.manifold = inputs[0]
        ctx.save_for_backward(*inputs[1:4])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        mean, x, w = ctx.saved_tensors
        u = _inverse_hessian(ctx.manifold, mean, x, w, ctx.manifold.egrad2rgrad(mean, g))
        return None, None, None, None, _flat(ctx.manifold, mean, u)


class _ForwardMode(_InverseHessian):
    """The same, also for forward-mode differentiation, which torch.compile cannot trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _InverseHessian.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:4])

    @staticmethod
    @nestable
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return _inverse_hessian(ctx.manifold, *ctx.saved_tensors, tangents[-1])


def _inverse_hessian(*arguments: Any) -> Tensor:
    return (_InverseHessian if torch.compiler.is_compiling() else _ForwardMode).apply(*arguments)
