"""Functions of symmetric matrices against 60-digit eigendecompositions, finite differences and closed forms."""

from collections.abc import Callable
from typing import Any

import pytest
import scipy.linalg
import torch
from mpmath import MPContext
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import hessian, jacrev, jvp, vmap

from isometry.manifolds._lyapunov import generator
from isometry.manifolds.spectral import (
    EXP,
    INV_SQRT,
    INVERSE,
    LOG,
    SQRT,
    Compose,
    Power,
    Rectifier,
    ScalarFunction,
    Smooth,
    spectrum,
    sym_derivative,
    sym_difference,
    sym_exp,
    sym_function,
    sym_inv_sqrt,
    sym_log,
    sym_power,
    sym_sqrt,
)

MP = MPContext()
MP.dps = 60
EPS64 = torch.finfo(torch.float64).eps

FUNCTIONS = {
    "log": (LOG, MP.log, lambda a: 1 / a),
    "exp": (EXP, MP.exp, MP.exp),
    "sqrt": (SQRT, MP.sqrt, lambda a: 1 / (2 * MP.sqrt(a))),
    "inverse sqrt": (INV_SQRT, lambda a: 1 / MP.sqrt(a), lambda a: -1 / (2 * a * MP.sqrt(a))),
    "inverse": (INVERSE, lambda a: 1 / a, lambda a: -1 / a**2),
    "power": (Power(0.3), lambda a: a ** MP.mpf(0.3), lambda a: MP.mpf(0.3) * a ** (MP.mpf(0.3) - 1)),
    "rectifier": (Rectifier(1.5), lambda a: max(a, MP.mpf(1.5)), lambda a: MP.mpf(int(a > 1.5))),
    "smooth": (Smooth(torch.log), MP.log, lambda a: 1 / a),
    "composed": (
        Compose(LOG, Rectifier(1.5)),
        lambda a: MP.log(max(a, MP.mpf(1.5))),
        lambda a: 1 / a if a > 1.5 else MP.mpf(0),
    ),
}
MODERATE = {
    "identity": [1.0] * 6,
    "repeated": [1.0, 1.0, 1.0, 2.0, 2.0, 3.0],
    "nearly repeated": [1.0, 1 + 1e-9, 1 + 3e-9, 2.0, 2 + 1e-7, 3.0],
    "apart": [0.5, 0.7, 1.0, 2.5, 4.0, 5.0],
}
SPREAD = {
    "1e4": torch.logspace(-4, 0, 6, dtype=torch.float64).tolist(),
    "1e8": torch.logspace(-8, 0, 6, dtype=torch.float64).tolist(),
    "1e12": torch.logspace(-12, 0, 6, dtype=torch.float64).tolist(),
    "a cluster at the bottom": [1e-12, 1.0001e-12, 1.0002e-12, 1e-6, 1e-6 * (1 + 1e-9), 1.0],
    "equal at the bottom": [1e-12, 1e-12, 1e-12, 1e-6, 1.0, 1.0],
    "equal at the top": [1e-10, 1e-5, 1.0, 1 + 1e-15, 1 + 2e-15, 1 + 1e-13],
}


def rotated(eigenvalues: list[float], seed: int) -> Tensor:
    """A dense symmetric matrix with about these eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    n = len(eigenvalues)
    q = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    x = (q * torch.tensor(eigenvalues, dtype=torch.float64)) @ q.T
    return (x + x.T) / 2


def direction(n: int, seed: int) -> Tensor:
    """A symmetric matrix."""
    g = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return g + g.T


def exact(x: Tensor) -> Any:
    return MP.matrix(x.tolist())


def reference(x: Tensor, g: Tensor, f: Callable[[Any], Any], slope: Callable[[Any], Any]) -> tuple[Any, Any]:
    """``f(x)`` and ``D f(x)[g]`` by the theorem of Daleckii and Krein, in 60 digits."""
    e, q = MP.eigsy(exact(x))
    n = len(e)
    inner = q.T * exact(g) * q
    for i in range(n):
        for j in range(n):
            gap = e[i] - e[j]
            near = abs(gap) < MP.mpf(10) ** -40
            inner[i, j] *= slope(e[i]) if near else (f(e[i]) - f(e[j])) / gap
    return q * MP.diag([f(v) for v in e]) * q.T, q * inner * q.T


def relative_error(value: Tensor, expected: Any) -> float:
    return float(MP.norm(exact(value) - expected) / max(MP.norm(expected), MP.mpf(10) ** -30))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("eigenvalues", MODERATE)
def test_values_and_derivatives_at_repeated_eigenvalues(name: str, eigenvalues: str) -> None:
    f, exact_f, slope = FUNCTIONS[name]
    for seed in range(3):
        x, g = rotated(MODERATE[eigenvalues], seed), direction(6, seed)
        value, derivative = reference(x, g, exact_f, slope)
        if name in ("log", "smooth", "composed") and eigenvalues == "identity":
            assert float(sym_function(x, f).abs().max()) < 1e-14 or name == "composed"
        else:
            assert relative_error(sym_function(x, f), value) < 1e-14
        assert relative_error(sym_derivative(x, f, g), derivative) < (1e-12 if name == "smooth" else 1e-14)
        z = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((sym_function(z, f) * g).sum(), z)
        assert relative_error(gradient, derivative) < (1e-12 if name == "smooth" else 1e-14)


@pytest.mark.parametrize("name", ["log", "sqrt", "inverse sqrt", "power"])
@pytest.mark.parametrize("eigenvalues", SPREAD)
def test_refined_decompositions_are_exact_to_condition_1e12(name: str, eigenvalues: str) -> None:
    f, exact_f, slope = FUNCTIONS[name]
    for seed in range(3):
        x, g = rotated(SPREAD[eigenvalues], seed), direction(6, seed)
        value, derivative = reference(x, g, exact_f, slope)
        decomposition = spectrum(x, refine=True)
        assert relative_error(sym_function(x, f, decomposition), value) < 1e-14
        assert relative_error(sym_derivative(x, f, g, decomposition), derivative) < 2e-14
        assert float((decomposition.vectors.mT @ decomposition.vectors - torch.eye(6)).abs().max()) < 1e-14


@pytest.mark.parametrize("n", [1, 2, 3, 20, 93])
def test_refined_decompositions_of_every_size(n: int) -> None:
    x = rotated(torch.logspace(-10, 0, n, dtype=torch.float64).tolist(), n)
    batch = torch.stack([x, 2 * x])
    values, vectors = spectrum(batch, refine=True)
    assert values.shape == (2, n)
    assert float((vectors.mT @ vectors - torch.eye(n)).abs().max()) < 64 * EPS64
    expected = sorted(MP.eigsy(exact(x), eigvals_only=True)) if n <= 20 else None
    if expected:
        assert max(abs(float((MP.mpf(a) - b) / b)) for a, b in zip(values[0].tolist(), expected, strict=True)) < 1e-14
    assert float((values[1] / values[0] - 2).abs().max()) < 1e-13


def test_refinement_is_for_float64() -> None:
    with pytest.raises(ValueError, match=r"expected float64 matrices, got torch.float32"):
        spectrum(torch.eye(3), refine=True)


@pytest.mark.parametrize("ratio", [1.0, 1 + 1e-12, 1.5, 1e3, 1e9])
def test_large_batches_of_two_by_two_matrices(ratio: float) -> None:
    for seed in range(5):
        x = rotated([1.0, ratio], seed)
        values, vectors = (part[0] for part in spectrum(x.expand(600, 2, 2)))
        low, high = sorted(MP.eigsy(exact(x), eigvals_only=True))
        assert abs(float((MP.mpf(values[0].item()) - low) / low)) < 4 * EPS64
        assert abs(float((MP.mpf(values[1].item()) - high) / high)) < 4 * EPS64
        assert float((vectors @ values.diag() @ vectors.mT - x).abs().max()) < 4 * EPS64 * ratio
    zero = spectrum(torch.zeros(600, 2, 2, dtype=torch.float64))
    assert torch.equal(zero.values, torch.zeros(600, 2, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_batches_of_three_by_three_matrices(dtype: torch.dtype) -> None:
    """Jacobi's rotations against LAPACK: eigenvalues, reconstruction, orthogonality; shapes; special matrices."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 1100, 3, 3, generator=generator, dtype=dtype)
    x = a + a.mT
    x[0, :4] = torch.stack([torch.zeros(3, 3), torch.eye(3), torch.diag(torch.tensor([3.0, 1, 2])), torch.ones(3, 3)])
    x[1, :1000] = x[1, :1000] @ x[1, :1000]
    values, vectors = spectrum(x)
    scale, bound = values.abs().amax(-1).clamp_min(1e-30), 16 * torch.finfo(dtype).eps
    assert float(((values - torch.linalg.eigvalsh(x)).abs().amax(-1) / scale).max()) < bound
    rebuilt = (vectors * values.unsqueeze(-2)) @ vectors.mT
    assert float(((rebuilt - x).abs().amax((-2, -1)) / scale).max()) < bound
    assert float((vectors.mT @ vectors - torch.eye(3, dtype=dtype)).abs().max()) < bound
    assert float((values.diff(dim=-1)).min()) >= 0


@pytest.mark.parametrize("n", [2, 4])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_two_derivatives_are_those_of_finite_differences(name: str, n: int) -> None:
    f: ScalarFunction = FUNCTIONS[name][0]
    for eigenvalues in ([1.0] * n, [2.0] * (n - 1) + [3.0], [0.4, 1.1, 2.0, 4.0][-n:]):
        if name in ("rectifier", "composed") and min(abs(v - 1.5) for v in eigenvalues) < 0.1:
            continue
        x = rotated(eigenvalues, n).requires_grad_()
        assert gradcheck(lambda z: sym_function(z, f), x, fast_mode=True)
        assert gradgradcheck(lambda z: sym_function(z, f), x, fast_mode=True)


@pytest.mark.parametrize("name", ["log", "exp", "sqrt", "inverse sqrt", "inverse", "power"])
@pytest.mark.parametrize("eigenvalues", [[1.0, 1.0, 1.0], [2.0, 2 + 1e-9, 3.0], [0.4, 1.0, 4.0]])
def test_the_derivative_is_twice_differentiable(name: str, eigenvalues: list[float]) -> None:
    f: ScalarFunction = FUNCTIONS[name][0]
    x, u = rotated(eigenvalues, 1).requires_grad_(), direction(3, 2).requires_grad_()
    assert gradcheck(lambda z, v: sym_derivative(z, f, v), (x, u), fast_mode=True)
    assert gradgradcheck(lambda z, v: sym_derivative(z, f, (v + v.mT) / 2), (x, u), fast_mode=True)


def test_a_third_derivative_of_a_composition_is_refused() -> None:
    x = rotated([1.0, 2.0, 3.0], 0).requires_grad_()
    value = sym_derivative(x, Compose(LOG, Rectifier(0.5)), direction(3, 1))
    (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="at most two derivatives"):
        torch.autograd.grad(first.sum(), x)


def test_differences_of_close_pairs() -> None:
    for seed in range(4):
        x = rotated(torch.logspace(-4, 0, 6, dtype=torch.float64).tolist(), seed)
        y = x + 1e-12 * direction(6, seed)
        (e, q), (d, p) = MP.eigsy(exact(x)), MP.eigsy(exact(y))
        expected = q * MP.diag([MP.log(v) for v in e]) * q.T - p * MP.diag([MP.log(v) for v in d]) * p.T
        assert relative_error(sym_difference(x, y, LOG), expected) < 1e-11  # eps times the condition number
        assert relative_error(sym_log(x) - sym_log(y), expected) > 1e-6  # what the plain difference has left
    assert float(sym_difference(x, x, LOG).abs().max()) == 0
    a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
    ours = torch.autograd.grad(sym_difference(a, b, LOG).square().sum(), (a, b))
    shift = sym_difference(x, y, LOG)
    for sign, point, gradient in zip((1, -1), (x, y), ours, strict=True):
        assert torch.allclose(gradient, sign * 2 * sym_derivative(point, LOG, shift), rtol=1e-12, atol=0)


def test_named_functions() -> None:
    x = rotated([0.3, 0.5, 1.0, 2.0, 2.0, 5.0], 3)
    for value, expected in [
        (sym_log(x), scipy.linalg.logm(x.numpy())),
        (sym_exp(x), scipy.linalg.expm(x.numpy())),
        (sym_sqrt(x), scipy.linalg.sqrtm(x.numpy())),
        (sym_inv_sqrt(x) @ sym_sqrt(x), torch.eye(6).numpy()),
        (sym_power(x, -1.5) @ sym_sqrt(x) @ x, torch.eye(6).numpy()),
    ]:
        # SciPy's errors are those of its Pade approximations, relative to the norm
        assert float((value - torch.as_tensor(expected)).norm()) < 1e-12 * float(value.norm())


def test_lyapunov_equation() -> None:
    p, v = rotated([1e-3, 0.1, 1.0, 1.0], 4), direction(4, 5)
    expected = torch.as_tensor(scipy.linalg.solve_continuous_lyapunov(p.numpy(), v.numpy()))
    assert torch.allclose(generator(p, v), expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max()))
    p = rotated([0.5, 1.0, 1.0], 4).requires_grad_()
    w = direction(3, 5).requires_grad_()
    assert gradcheck(lambda a, b: generator(a + a.mT, b + b.mT), (p, w), fast_mode=True)
    assert gradgradcheck(lambda a, b: generator(a + a.mT, b + b.mT), (p, w), fast_mode=True)


def test_one_decomposition_serves_several_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rotated([0.5, 1.0, 1.0, 2.0], 0)[None].repeat(3, 1, 1).requires_grad_()
    once = spectrum(x)
    monkeypatch.setattr(torch.linalg, "eigh", lambda _: pytest.fail("a second decomposition"))
    value = sym_log(x, once) + sym_sqrt(x, once) @ sym_inv_sqrt(x, once)
    (gradient,) = torch.autograd.grad(value.square().sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_transforms_and_compilation() -> None:
    x = torch.stack([rotated([1.0, 1.0, 2.0], 1), rotated([0.5, 1.0, 4.0], 2)])
    assert torch.equal(vmap(sym_log)(x), sym_log(x))
    assert torch.allclose(jvp(sym_log, (x,), (x,))[1], sym_derivative(x, LOG, x))

    def loss(z: Tensor) -> Tensor:
        return sym_log(z).square().sum()

    assert torch.allclose(vmap(hessian(loss))(x), vmap(jacrev(jacrev(loss)))(x))
    for function in (sym_log, lambda z: generator(z, z @ z)):
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        torch.compile(function, fullgraph=True, backend="aot_eager")(a).square().sum().backward()
        function(b).square().sum().backward()
        assert torch.allclose(a.grad, b.grad, rtol=1e-13)


def test_threads_change_nothing() -> None:
    x = torch.stack([rotated([0.5, 1.0, 1.0, 2.0], seed) for seed in range(9)]).reshape(3, 3, 4, 4)
    serial = spectrum(x)
    torch.set_num_threads(2)
    try:
        assert all(torch.equal(a, b) for a, b in zip(spectrum(x), serial, strict=True))
    finally:
        torch.set_num_threads(1)


def test_the_asymmetric_part_is_ignored_and_gets_no_gradient() -> None:
    x, skew = rotated([0.5, 1.0, 2.0], 0), torch.tensor([[0.0, 1, 2], [-1, 0, 3], [-2, -3, 0]], dtype=torch.float64)
    assert torch.allclose(sym_log(x + skew), sym_log(x), atol=1e-15)
    z = (x + skew).requires_grad_()
    (gradient,) = torch.autograd.grad((sym_log(z) * torch.arange(9.0).reshape(3, 3)).sum(), z)
    assert torch.equal(gradient, gradient.mT)


def test_an_empty_batch_stays_empty() -> None:
    x = torch.empty(0, 3, 3, dtype=torch.float64, requires_grad=True)
    value = sym_log(x)
    assert value.shape == sym_derivative(x, LOG, x).shape == (0, 3, 3)
    value.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == (0, 3, 3)
