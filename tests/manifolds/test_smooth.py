"""The numerical primitives against 120-digit arithmetic."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.manifolds import _smooth
from isometry.manifolds._precision import one_minus_square
from tests.manifolds.reference import MP


def even(f: Callable[[Any], Any], at_zero: int = 1) -> Callable[[Any], Any]:
    """The even function f of a norm as a function of the squared norm, continued analytically below 0."""
    return lambda s: MP.mpf(at_zero) if s == 0 else MP.re(f(MP.sqrt(s)))


REFERENCES = {
    _smooth.cosh_sqrt: even(MP.cosh),
    _smooth.sinhc_sqrt: even(lambda r: MP.sinh(r) / r),
    _smooth.cos_sqrt: even(MP.cos),
    _smooth.sinc_sqrt: even(lambda r: MP.sin(r) / r),
    _smooth.asinhc_sqrt: even(lambda r: MP.asinh(r) / r),
    _smooth.tanhc_sqrt: even(lambda r: MP.tanh(r) / r),
    _smooth.sech2_sqrt: even(lambda r: MP.sech(r) ** 2),
    _smooth.log_sinhc_sqrt: even(lambda r: MP.log(MP.sinh(r) / r), at_zero=0),
}
JOINT = [1 - 2**-24, 1.0, 1 + 2**-23]  # where the series hands over to the closed form
ARGUMENTS = [0.0, 1e-30, 1e-18, 1e-12, 1e-8, 1e-4, 1e-2, 0.1, 0.5, 0.9, *JOINT, 1.5, 3.0, 10.0, 100.0, 1e3, 5e3]
STEP = MP.mpf(10) ** -20


def taylor(f: Callable[[Any], Any], s: float) -> list[Any]:
    """f and its first three derivatives at s (differences with an error of 1e-40)."""
    point = MP.mpf(s)
    return [f(point), *(MP.diff(f, point, k, h=STEP) for k in (1, 2, 3))]


def derivatives(f: Callable[[Tensor], Tensor], s: Tensor) -> list[Tensor]:
    """f and its first two derivatives by autograd."""
    s = s.requires_grad_()
    value = f(s)
    (first,) = torch.autograd.grad(value.sum(), s, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), s)
    return [value, first, second]


def bound(exact: list[Any], s: float, order: int, eps: float) -> Any:
    """8 eps times what rounding s does to the result, or the size of the terms in the closed form's derivative."""
    if s < 1:
        return 8 * eps * (abs(exact[order]) + abs(s * exact[order + 1]))
    return 8 * eps * sum(abs(exact[k]) * MP.mpf(s) ** k for k in range(4)) / MP.mpf(s) ** order


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("function", REFERENCES, ids=lambda f: f.__name__)
def test_even_functions_and_two_derivatives(function: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    arguments = [*ARGUMENTS, *([1e4] if dtype == torch.float64 else [])]  # cosh(100) is beyond float32
    if function is _smooth.asinhc_sqrt:
        arguments += [-1e-12, -1e-4, -0.1, -0.5, -0.9]
    s = torch.tensor(arguments, dtype=dtype)
    found = [d.tolist() for d in derivatives(function, s)]
    info = torch.finfo(dtype)
    for i, value in enumerate(s.tolist()):
        exact = taylor(REFERENCES[function], value)
        for order in range(3):
            error = abs(MP.mpf(found[order][i]) - exact[order])
            allowed = bound(exact, value, order, info.eps) + info.smallest_normal
            assert error <= allowed, f"derivative {order} at {value}: error {float(error):.1e} > {float(allowed):.1e}"


def test_norm_and_square_root_at_zero() -> None:
    u = torch.zeros(2, 3, dtype=torch.float64)
    u[1] = torch.tensor([3.0, 0.0, 4.0])
    u.requires_grad_()
    length = _smooth.norm(u)
    assert length.tolist() == [0, 5]
    (gradient,) = torch.autograd.grad(length.sum(), u)
    torch.testing.assert_close(gradient, u.detach() / torch.tensor([[1.0], [5.0]]), check_dtype=False)
    assert _smooth.safe_sqrt(torch.tensor([-1.0, 4.0])).tolist() == [0, 2]


def test_nan_is_not_hidden() -> None:
    nan = torch.tensor([math.nan])
    for function in (*REFERENCES, _smooth.safe_sqrt, _smooth.norm):
        assert function(nan).isnan().all(), function.__name__


def test_with_value_keeps_the_bits_and_differentiates_the_path() -> None:
    x = torch.tensor([0.1, 0.7], dtype=torch.float64, requires_grad=True)
    value = _smooth.with_value(x.detach() * 3, x.square())
    assert torch.equal(value, x * 3)
    assert torch.equal(torch.autograd.grad(value.sum(), x)[0], 2 * x)


def boundary_points(n: int, c: float, dtype: torch.dtype) -> Tensor:
    """Points in random directions from the centre to the last floats inside the ball."""
    directions = torch.randn(12, n, dtype=torch.float64)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    inset = torch.tensor([1, 0.5, 1e-2, 1e-5, 1e-9, 1e-12, 1e-14, *(k * 2.0**-53 for k in (1, 2, 3, 5, 9))])
    return (directions * (1 - inset.double().unsqueeze(-1)) / math.sqrt(c)).to(dtype)


@pytest.mark.parametrize("c", [1.0, 0.37, 2.5, 1e-3])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 16, 64, 65, 200, 600])
def test_one_minus_square_up_to_the_last_float(n: int, c: float) -> None:
    x = boundary_points(n, c, torch.float64)
    found = one_minus_square(x, c)
    assert torch.equal(one_minus_square(x, torch.tensor([c], dtype=torch.float64)), found)
    # The correction to 1 - a, below 2^-53, is rounded; beyond 384 coordinates so are the sums of products below 2^-48.
    eps, rounding = torch.finfo(torch.float64).eps, 2.0**-106 if n <= 384 else n * 2.0**-97
    inside = 0
    for row, value in zip(x.tolist(), found.squeeze(-1).tolist(), strict=True):
        exact = 1 - MP.mpf(c) * sum(MP.mpf(a) ** 2 for a in row)
        assert abs(MP.mpf(value) - exact) <= 4 * eps * abs(exact) + rounding
        inside += exact > 0
    assert inside >= 7


@pytest.mark.parametrize("c", [1.0, 0.37])
@pytest.mark.parametrize("n", [1, 3, 600])
def test_one_minus_square_in_float32(n: int, c: float) -> None:
    """The plain formula: to rounding of 1, and positive for every point of the ball."""
    eps = torch.finfo(torch.float32).eps
    x = boundary_points(n, c, torch.float32)
    found = one_minus_square(x, c).squeeze(-1)
    exact = one_minus_square(x.double(), c).squeeze(-1)
    assert (found >= eps / 2).all()
    assert ((found - exact.clamp_min(eps / 2)).abs() <= 8 * eps).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_one_minus_square_has_the_plain_derivatives(dtype: torch.dtype) -> None:
    x = boundary_points(3, 0.37, dtype)[:5].requires_grad_()
    (gradient,) = torch.autograd.grad(one_minus_square(x, 0.37).sum(), x)
    torch.testing.assert_close(gradient, -2 * 0.37 * x, rtol=4 * torch.finfo(dtype).eps, atol=0)
