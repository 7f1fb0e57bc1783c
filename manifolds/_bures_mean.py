"""The Frechet mean of the Bures-Wasserstein metric, differentiable through the optimum."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._forward_mode import nestable
from isometry.manifolds._iterate import iterate
from isometry.manifolds._lyapunov import generator
from isometry.manifolds._optimal_map import Coupling, coupling, displacement
from isometry.manifolds._smooth import with_value
from isometry.manifolds._spd import symmetric_part

_FIXED_POINT_STEPS = 64
_FIXED_POINT_TOLERANCE = 1e-3
_NEWTON_STEPS = 3
_CONJUGATE_GRADIENT_STEPS = 48


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a / b``, and 0 where b is 0: the iteration is over there."""
    return torch.where(b > 0, a / torch.where(b > 0, b, 1), 0)


class _InverseHessian(torch.autograd.Function):
    r"""The change h of the mean m that changes ``sum_i w_i (T_i - 1)`` by ``-r``, to first order.

    In the bases E of the pairs ``r = sum_i w_i E (s s^T / (s + s^T) o E^T h E) E^T``, a self-adjoint positive operator.
    The equation is solved by conjugate gradients, preconditioned by the operator's inverse for equal points, which is
    ``r -> m r + r m``.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(r: Tensor, mean: Tensor, basis: Tensor, kernel: Tensor) -> Tensor:
        r = symmetric_part(r)
        stop = torch.finfo(r.dtype).eps ** 2 * _inner(r, r)
        transposed = basis.mT.clone()  # a compiled loop captures no two views of one tensor

        def precondition(r: Tensor) -> Tensor:
            half = mean @ r
            return half + half.mT

        def step(h: Tensor, r: Tensor, direction: Tensor, energy: Tensor) -> tuple[Tensor, ...]:
            core = kernel * (transposed @ direction.unsqueeze(-3) @ basis)
            image = symmetric_part((basis @ core @ transposed).sum(-3))
            rate = _ratio(energy, _inner(direction, image))
            h, r = h + rate * direction, r - rate * image
            z = precondition(r)
            new = _inner(r, z)
            return h, r, z + _ratio(new, energy) * direction, new

        z = precondition(r)
        start = (torch.zeros_like(r), r, z, _inner(r, z))
        return iterate(step, lambda h, r, *_: _inner(r, r) > stop, start, _CONJUGATE_GRADIENT_STEPS)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, ...]:
        return _solved(w, *ctx.saved_tensors), None, None, None


class _InverseHessianForwardMode(_InverseHessian):
    """The same, also for forward-mode differentiation, which torch.compile cannot trace."""

    @staticmethod
    @nestable
    def jvp(ctx: Any, dr: Tensor, *_: Any) -> Tensor:
        return _solved(dr, *ctx.saved_tensors)


def _solved(r: Tensor, mean: Tensor, basis: Tensor, kernel: Tensor) -> Tensor:
    function = _InverseHessian if torch.compiler.is_compiling() else _InverseHessianForwardMode
    return function.apply(r, mean, basis, kernel)


def _correction(r: Tensor, mean: Tensor, pair: Coupling, w: Tensor) -> Tensor:
    """Return the change of ``mean`` that makes up for the mean displacement ``r``."""
    a, b = pair.values.unsqueeze(-1), pair.values.unsqueeze(-2)
    return _solved(r, mean.detach(), pair.basis, (w[..., None, None] * a * b / (a + b)).detach())


def _step(mean: Tensor, there: Tensor) -> Tensor:
    """Return ``(1 + D) mean (1 + D)``, positive definite."""
    m = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device) + there
    return symmetric_part(m @ mean @ m)


@torch.no_grad()
def _optimum(x: Tensor, w: Tensor) -> Tensor:
    """Return the mean, by the fixed-point iteration and then Newton's method."""

    def average(mean: Tensor) -> tuple[Tensor, Coupling]:
        pair = coupling(mean.unsqueeze(-3), x)
        return (w[..., None, None] * pair.there()).sum(-3), pair

    def step(mean: Tensor, there: Tensor, size: Tensor) -> tuple[Tensor, ...]:
        mean = _step(mean, there)
        there = average(mean)[0]
        return mean, there, _inner(there @ mean, there)

    mean = (w[..., None, None] * x).sum(-3)
    there = average(mean)[0]
    size = _inner(there @ mean, there)
    stop = _FIXED_POINT_TOLERANCE**2 * size
    mean = iterate(step, lambda mean, there, size: size > stop, (mean, there, size), _FIXED_POINT_STEPS)[0]
    for _ in range(_NEWTON_STEPS):
        r, pair = average(mean)
        # the T - 1 of the step that changes the mean by the correction, to first order
        mean = _step(mean, generator(mean, _correction(r, mean, pair, w)))
    return mean


def barycentre(x: Float[Tensor, "*b m n n"], w: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n n"]:
    r"""Return the minimizer of ``sum_i w_i d(mu, x_i)^2``, where ``sum_i w_i T_i = 1``.

    The last two steps are recorded by autograd, with the inverse derivative held fixed: the first and second
    derivatives with respect to ``x`` and ``w`` are those of the implicit function theorem, exactly.

    Args:
        x: Positive definite ``[*b, m, n, n]``.
        w: Non-negative weights that sum to 1.

    Source: Alvarez-Esteban, del Barrio, Cuesta-Albertos & Matran 2016 (the fixed point); Bhatia, Jain & Lim 2019,
    section 6.
    """
    optimum = _optimum(x.detach(), w.detach())
    pair = coupling(optimum.unsqueeze(-3), x)
    mean = value = optimum
    for _ in range(2):
        near, far = torch.broadcast_tensors(mean.unsqueeze(-3), x)
        r = (w[..., None, None] * displacement(near, far, pair)).sum(-3)
        mean = mean + _correction(r, optimum, pair, w)
    return with_value(value, mean)
