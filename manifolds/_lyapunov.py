"""The Lyapunov equation ``a z + z a^T = g``, with derivatives of every order from one diagonalisation of ``a``."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._forward_mode import nestable
from isometry.manifolds.spectral import Spectrum, spectrum


class Diagonalisation(NamedTuple):
    """``a = basis diag(values) inverse`` with positive values; a constant for autograd.

    Attributes:
        basis: Eigenvectors ``[*b, n, n]``, one in each column.
        values: Eigenvalues ``[*b, n]``.
        inverse: The inverse of the basis.
    """

    basis: Tensor
    values: Tensor
    inverse: Tensor

    @classmethod
    def symmetric(cls, spectrum: Spectrum) -> "Diagonalisation":
        """Return that of a symmetric matrix."""
        return cls(spectrum.vectors, spectrum.values, spectrum.vectors.mT)

    @property
    def transposed(self) -> "Diagonalisation":
        """That of ``a^T``."""
        return Diagonalisation(self.inverse.mT, self.values, self.basis.mT)


class _Lyapunov(torch.autograd.Function):
    """The map from ``a`` and ``g`` to ``z``; its differential and its adjoint are Lyapunov equations, too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, g: Tensor, basis: Tensor, values: Tensor, inverse: Tensor) -> Tensor:
        core = inverse @ g @ inverse.mT / (values.unsqueeze(-1) + values.unsqueeze(-2))
        return basis @ core @ basis.mT

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        a, _, *parts = inputs
        ctx.save_for_backward(a, output, *parts)
        ctx.save_for_forward(a, output, *parts)

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, ...]:
        a, z, *parts = ctx.saved_tensors
        y = _solved(a.mT, w, Diagonalisation(*parts).transposed)
        da = -(y @ z.mT + y.mT @ z) if ctx.needs_input_grad[0] else None
        return da, y, None, None, None


class _ForwardMode(_Lyapunov):
    """The same, also for forward-mode differentiation, which torch.compile cannot trace."""

    @staticmethod
    @nestable
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        a, z, *parts = ctx.saved_tensors
        da, dg = tangents[:2]
        change = torch.zeros_like(z) if dg is None else dg
        change = change if da is None else change - da @ z - z @ da.mT
        return _solved(a, change, Diagonalisation(*parts))


def _solved(a: Tensor, g: Tensor, parts: Diagonalisation) -> Tensor:
    function = _Lyapunov if torch.compiler.is_compiling() else _ForwardMode
    return function.apply(a, g, *parts)


def solve_lyapunov(
    a: Float[Tensor, "*#b n n"], g: Float[Tensor, "*#b n n"], parts: Diagonalisation
) -> Float[Tensor, "*b n n"]:
    """Return z with ``a z + z a^T = g``, differentiable in ``a`` and ``g``.

    Args:
        a: Matrices ``[*b, n, n]`` with positive eigenvalues.
        g: Right-hand sides ``[*b, n, n]``.
        parts: The diagonalisation of ``a``.

    Source: Bhatia 1997, Matrix Analysis, theorem VII.2.3.
    """
    shape = torch.broadcast_shapes(a.shape, g.shape)
    basis, values, inverse = parts
    parts = Diagonalisation(basis.expand(shape), values.expand(shape[:-1]), inverse.expand(shape))
    return _solved(a.expand(shape), g.expand(shape), parts)


def solve_lyapunov_refined(
    a: Float[Tensor, "*b n n"], g: Float[Tensor, "*b n n"], parts: Diagonalisation
) -> Float[Tensor, "*b n n"]:
    """Return the same with one step of iterative refinement, for a diagonalisation known to half of the digits."""
    z = solve_lyapunov(a, g, parts)
    return z + solve_lyapunov(a, g - a @ z - z @ a.mT, parts)


def generator(x: Float[Tensor, "*#b n n"], u: Float[Tensor, "*#b n n"]) -> Float[Tensor, "*b n n"]:
    """Return the L with ``x L + L x = u`` for positive definite ``x``: ``L z`` lifts u horizontally to a root z."""
    return solve_lyapunov(x, u, Diagonalisation.symmetric(spectrum(x)))
