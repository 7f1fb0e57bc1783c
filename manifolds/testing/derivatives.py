"""Derivatives: the metric ones are geometry's, autograd's are those of finite differences, and none is NaN."""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.func import functional_call, jvp

from isometry.manifolds.testing.assertions import assert_small
from isometry.manifolds.testing.case import Case
from isometry.manifolds.testing.collection import GeneratedTests, where
from isometry.manifolds.testing.operations import NOT_SMOOTH, OPERATIONS


def arguments(case: Case, *, coincident: bool = False, count: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return float64 points x, y and vectors u, v at x, with ``y = x`` and ``u = 0`` if coincident."""
    x, y = case.pair(torch.float64, count=count)
    u, v = case.tangents(x, case.reach / 2, seed=2), case.tangents(x, seed=3)
    return (x, x.clone(), torch.zeros_like(u), v) if coincident else (x, y, u, v)


class DerivativeTests(GeneratedTests):
    """First and second derivatives."""

    def test_gradient_of_the_squared_distance(self, case: Case, dtype: torch.dtype, power: float) -> None:
        """``grad d^2(., y) = -2 log_x(y)`` and ``grad d(., y) = -log_x(y) / |log_x(y)|``, in either argument."""
        m = case.manifold
        x, y = (p.requires_grad_() for p in case.pair(dtype, power))
        for p, q in [(x, y), (y, x)]:
            log = m.logmap(p, q)
            length = m.norm(p, log, keepdim=True)
            for f, expected in [(m.dist2(x, y), -2 * log), (m.dist(x, y), -log / length)]:
                gradient = m.egrad2rgrad(p, grad(f.sum(), p)[0])
                error = m.norm(p, gradient - expected) / m.norm(p, expected)
                assert_small(error, case.bound(dtype, power), "gradient of the distance")

    def test_gradient_at_coincident_points_is_zero(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.points(8, dtype=dtype)
        x, y = x.requires_grad_(), x.detach().clone().requires_grad_()
        for f in (m.dist(x, y), m.dist2(x, y)):
            for gradient in grad(f.sum(), (x, y)):
                assert not gradient.any(), "the gradient of the distance at y = x is not exactly 0"
        u = torch.zeros_like(x).requires_grad_()
        assert not grad(m.norm(x, u).sum(), u)[0].any(), "the gradient of the norm at u = 0 is not exactly 0"

    def test_hessian_of_the_squared_distance_is_twice_the_metric(self, case: Case) -> None:
        m, x = case.manifold, case.points(8)
        v, w = case.tangents(x, seed=2), case.tangents(x, seed=3)
        expected = 2 * m.inner(x, v, w)

        def slope(a: Tensor, b: Tensor, argument: int) -> Tensor:
            return torch.func.grad(lambda p, q: m.dist2(p, q).sum(), argnums=argument)(a, b)

        zero = torch.zeros_like(v)
        for argument, direction, sign in [(0, (v, zero), 1), (1, (zero, v), 1), (0, (zero, v), -1)]:
            change = jvp(lambda a, b, k=argument: slope(a, b, k), (x, x), direction)[1]
            second = (change * w).flatten(1).sum(-1)
            assert_small(second - sign * expected, 4 * case.bound(x.dtype), "Hessian of d^2 at y = x")

    def test_differential_at_zero_is_the_identity(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.points(8, dtype=dtype)
        v = case.tangents(x)
        for name, f, at in [
            ("exp", m.expmap, torch.zeros_like(x)),
            ("retr", m.retr, torch.zeros_like(x)),
            ("log", m.logmap, x),
        ]:
            change = jvp(lambda z, f=f: f(x, z), (at,), (v,))[1]
            assert_small(m.norm(x, m.proju(x, change) - v), case.bound(dtype), f"d {name}_x - id")

    def test_derivatives_are_finite_at_coincident_points(self, case: Case, dtype: torch.dtype, operation: str) -> None:
        inputs = [z.to(dtype).requires_grad_() for z in arguments(case, coincident=True)]
        value = OPERATIONS[operation](case.manifold, *inputs).sum()
        first = grad(value, inputs, create_graph=True, materialize_grads=True)
        weights = torch.linspace(1, 2, first[0].numel(), dtype=dtype).view_as(first[0])
        second = grad((torch.stack(first) * weights).sum(), inputs, materialize_grads=True)
        for derivative in (*first, *second):
            assert derivative.isfinite().all(), f"{operation}: a derivative at y = x, u = 0 is not finite"

    def test_derivatives_are_those_of_finite_differences(self, case: Case, operation: str) -> None:
        function = functools.partial(on_the_manifold, case.manifold, operation)
        for coincident in {False, operation not in NOT_SMOOTH}:
            inputs = [z.requires_grad_() for z in arguments(case, coincident=coincident)]
            gradcheck(function, inputs, fast_mode=True)
            gradgradcheck(function, inputs, fast_mode=True)

    @where(lambda manifold: any(True for _ in manifold.parameters()))
    def test_derivatives_in_the_parameters(self, case: Case, operation: str) -> None:
        module = Call(case.manifold)
        parameters = {name: p.detach().double().requires_grad_() for name, p in module.named_parameters()}
        x, y, u, v = arguments(case)

        def by_parameters(*values: Tensor) -> Tensor:
            named = dict(zip(parameters, values, strict=True))
            return functional_call(module, named, (operation, 0.5 * x, 0.5 * y, u, v))

        gradcheck(by_parameters, tuple(parameters.values()))


def on_the_manifold(manifold: Any, operation: str, x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Return an operation's value at the points and tangent vectors nearest to the given ones."""
    x, y = manifold.projx(x), manifold.projx(y)
    return OPERATIONS[operation](manifold, x, y, manifold.proju(x, u), manifold.proju(x, v))


class Call(torch.nn.Module):
    """A module whose forward is an operation of its manifold at points made valid for the present parameters."""

    def __init__(self, manifold: torch.nn.Module) -> None:
        super().__init__()
        self.manifold: Any = manifold

    def forward(self, operation: str, x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return the operation's value."""
        return on_the_manifold(self.manifold, operation, x, y, u, v)
