"""Functions of symmetric matrices, with derivatives that are exact at equal and nearly equal eigenvalues.

For ``x = U diag(l) U^T`` and a scalar function f, ``f(x) = U diag(f(l)) U^T``, and its derivatives are operator
integrals: with the divided differences ``f[l_i, ..., l_j]`` of order k as kernel,

    T_f(g_1, ..., g_k)_ij = sum f[l_i, l_m, ..., l_j] (g_1)_im ... (g_k)_.j        (in the basis U)

``D f(x)[g] = T_f(g)`` (Daleckii & Krein 1965) and ``D^2 f(x)[g, h] = T_f(g, h) + T_f(h, g)``. One autograd function
holds T of any order, as the derivative of each order is of the next. The divided differences never divide by
a small gap: they are closed forms without cancellation, or a Taylor series where points nearly coincide.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._eigh import eigh, refined
from isometry.manifolds._forward_mode import nestable
from isometry.manifolds._scalar_functions import (
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
)
from isometry.manifolds._smooth import with_value

__all__ = [
    "EXP",
    "INVERSE",
    "INV_SQRT",
    "LOG",
    "SQRT",
    "Compose",
    "Power",
    "Rectifier",
    "ScalarFunction",
    "Smooth",
    "Spectrum",
    "spectrum",
    "sym_derivative",
    "sym_difference",
    "sym_exp",
    "sym_function",
    "sym_inv_sqrt",
    "sym_log",
    "sym_power",
    "sym_sqrt",
]


class Spectrum(NamedTuple):
    """An eigendecomposition ``U diag(values) U^T``, a constant for autograd.

    The eigenvalues ``[*b, n]`` ascend; the orthonormal eigenvectors ``[*b, n, n]`` are the columns of ``vectors``.
    """

    values: Tensor
    vectors: Tensor


def spectrum(x: Float[Tensor, "*b n n"], *, refine: bool = False) -> Spectrum:
    """Return the eigendecomposition of the symmetric part of ``x``, for use in several functions of the same ``x``.

    Args:
        x: Symmetric matrices ``[*b, n, n]``.
        refine: Whether to correct the decomposition by its residual in twice the working precision (float64
            only). Each eigenvalue is then exact relative to itself; without it, relative to the largest one, so
            that log x loses as many digits as the condition number has (1e-5 remain wrong at 1e12).

    Source: Ogita & Aishima 2018, Iterative refinement for symmetric eigenvalue decomposition, for the residual.
    """
    with torch.no_grad():
        symmetric = (x.detach() + x.detach().mT) / 2
        # LAPACK may refuse a whole batch for one matrix that is not finite: that one's values are NaN.
        finite = symmetric.sum((-2, -1), keepdim=True).isfinite()
        values, vectors = eigh(torch.where(finite, symmetric, 0))
        values = torch.where(finite.squeeze(-1), values, math.nan)
        return Spectrum(*(refined(symmetric, values, vectors) if refine else (values, vectors)))


def _decomposed(x: Tensor, given: Spectrum | None) -> Spectrum:
    return spectrum(x) if given is None else given


_CONTRACTIONS = {2: "...iaj,...ia,...aj->...ij", 3: "...iabj,...ia,...ab,...bj->...ij"}


class _OperatorIntegral(torch.autograd.Function):
    """``T_f(g_1, ..., g_k)`` at the symmetric part of ``x``.

    The divided differences are symmetric in their arguments, so each partial derivative is another such integral.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        f: ScalarFunction,
        x: Tensor,
        values: Tensor,
        vectors: Tensor,
        g1: Tensor | None,
        g2: Tensor | None,
        g3: Tensor | None,
    ) -> Tensor:
        # torch.compile traces neither *args nor defaults here
        g = [v for v in (g1, g2, g3) if v is not None]
        k = len(g)
        n = values.shape[-1]
        axes = [[n if i == j else 1 for j in range(k + 1)] for i in range(k + 1)]
        kernel = f.divided([values.reshape(*values.shape[:-1], *axis) for axis in axes])
        if k == 0:
            return (vectors * kernel.unsqueeze(-2)) @ vectors.mT
        inner = [vectors.mT @ v @ vectors for v in g]
        core = torch.einsum(_CONTRACTIONS[k], kernel, *inner) if k > 1 else kernel * inner[0]
        return vectors @ core @ vectors.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.f = inputs[0]
        ctx.save_for_backward(*[v for v in inputs[1:] if v is not None])

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, ...]:
        x, values, vectors, *g = ctx.saved_tensors
        g = [v.mT for v in g]

        def adjoint(before: list[Tensor], after: list[Tensor]) -> Tensor:
            return _apply(ctx.f, x, values, vectors, *before[::-1], w, *after[::-1])

        dx = None
        if ctx.needs_input_grad[1]:
            dx = torch.stack([adjoint(g[:p], g[p:]) for p in range(len(g) + 1)]).sum(0)
            dx = (dx + dx.mT) / 2
        dg = [adjoint(g[:p], g[p + 1 :]) if ctx.needs_input_grad[4 + p] else None for p in range(len(g))]
        return None, dx, None, None, *dg, *[None] * (3 - len(dg))


class _ForwardMode(_OperatorIntegral):
    """The same, also for forward-mode differentiation, which torch.compile cannot trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _OperatorIntegral.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*[v for v in inputs[1:] if v is not None])

    @staticmethod
    @nestable
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        x, values, vectors, *g = ctx.saved_tensors
        dx, dg = tangents[1], tangents[4:]
        terms = [(*g[:p], (dx + dx.mT) / 2, *g[p:]) for p in range(len(g) + 1) if dx is not None]
        terms += [(*g[:p], v, *g[p + 1 :]) for p, v in enumerate(dg) if v is not None]
        return torch.stack([_apply(ctx.f, x, values, vectors, *term) for term in terms]).sum(0)


def _apply(*args: Any) -> Tensor:
    function = _OperatorIntegral if torch.compiler.is_compiling() else _ForwardMode
    return function.apply(*args, *[None] * (7 - len(args)))


def _integral(x: Tensor, f: ScalarFunction, g: tuple[Tensor, ...], given: Spectrum | None) -> Tensor:
    values, vectors = _decomposed(x, given)
    shape = torch.broadcast_shapes(x.shape, vectors.shape, *(v.shape for v in g))
    tensors = [v.expand(shape) for v in (x, vectors, *g)]
    x, vectors, *expanded = tensors
    return _apply(f, x, values.expand(shape[:-1]), vectors, *expanded)


def sym_function(
    x: Float[Tensor, "*b n n"], f: ScalarFunction, spectrum: Spectrum | None = None
) -> Float[Tensor, "*b n n"]:
    """Return ``f(x) = U f(l) U^T``, twice differentiable.

    Args:
        x: Symmetric matrices ``[*b, n, n]`` with eigenvalues in the domain of f; their symmetric part is used.
        f: ``LOG``, ``EXP``, ``SQRT``, ``INV_SQRT``, ``INVERSE``, ``Power(p)``, ``Rectifier(eps)``, ``Smooth(g)`` of any
            elementwise g, or ``Compose`` of two.
        spectrum: The decomposition of this ``x`` where it is known.

    Returns:
        Symmetric matrices ``[*b, n, n]``.

    Source: Higham 2008, Functions of Matrices, section 1.2; derivatives: Daleckii & Krein 1965.
    """
    return _integral(x, f, (), spectrum)


def sym_derivative(
    x: Float[Tensor, "*#b n n"], f: ScalarFunction, u: Float[Tensor, "*#b n n"], spectrum: Spectrum | None = None
) -> Float[Tensor, "*b n n"]:
    """Return ``D f(x)[u] = U (f[l_i, l_j] o U^T u U) U^T``, differentiable in ``x`` and twice in ``u``.

    Source: Daleckii & Krein 1965; Higham 2008, theorem 3.11.
    """
    return _integral(x, f, (u,), spectrum)


def sym_difference(
    x: Float[Tensor, "*#b n n"],
    y: Float[Tensor, "*#b n n"],
    f: ScalarFunction,
    spectra: tuple[Spectrum, Spectrum] | None = None,
) -> Float[Tensor, "*b n n"]:
    """Return ``f(x) - f(y) = U_x (f[x_i, y_j] o U_x^T (x - y) U_y) U_y^T``, to full relative accuracy for close pairs.

    Source: Birman & Solomyak 2003, Double operator integrals in a Hilbert space, section 5.
    """
    (x_values, x_vectors), (y_values, y_vectors) = spectra or (_decomposed(x, None), _decomposed(y, None))
    with torch.no_grad():
        kernel = f.first(x_values.unsqueeze(-1), y_values.unsqueeze(-2))
        gap = x.detach() - y.detach()
        value = x_vectors @ (kernel * (x_vectors.mT @ ((gap + gap.mT) / 2) @ y_vectors)) @ y_vectors.mT
        value = (value + value.mT) / 2
    path = sym_function(x, f, Spectrum(x_values, x_vectors)) - sym_function(y, f, Spectrum(y_values, y_vectors))
    return with_value(value, path)


def sym_log(x: Float[Tensor, "*b n n"], spectrum: Spectrum | None = None) -> Float[Tensor, "*b n n"]:
    """Return ``log x`` of positive definite ``x``."""
    return sym_function(x, LOG, spectrum)


def sym_exp(x: Float[Tensor, "*b n n"], spectrum: Spectrum | None = None) -> Float[Tensor, "*b n n"]:
    """Return ``exp x`` of symmetric ``x``."""
    return sym_function(x, EXP, spectrum)


def sym_sqrt(x: Float[Tensor, "*b n n"], spectrum: Spectrum | None = None) -> Float[Tensor, "*b n n"]:
    """Return the positive ``x^(1/2)`` of positive definite ``x``."""
    return sym_function(x, SQRT, spectrum)


def sym_inv_sqrt(x: Float[Tensor, "*b n n"], spectrum: Spectrum | None = None) -> Float[Tensor, "*b n n"]:
    """Return ``x^(-1/2)`` of positive definite ``x``."""
    return sym_function(x, INV_SQRT, spectrum)


def sym_power(x: Float[Tensor, "*b n n"], p: float, spectrum: Spectrum | None = None) -> Float[Tensor, "*b n n"]:
    """Return ``x^p`` of positive definite ``x``."""
    return sym_function(x, Power(p), spectrum)
