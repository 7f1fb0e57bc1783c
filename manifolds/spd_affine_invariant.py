"""Symmetric positive definite matrices with the affine-invariant metric."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds._forward_mode import nestable
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import asinhc_sqrt, log_sinhc_sqrt, with_value
from isometry.manifolds._spd import (
    SPD,
    cholesky,
    congruence,
    differentiated,
    eigenvalues,
    lower_inverse,
    symmetric_coordinates,
    symmetric_matrix,
    symmetric_part,
)
from isometry.manifolds.base import HomogeneousManifold
from isometry.manifolds.spectral import EXP, INVERSE, LOG, SQRT, ScalarFunction, Spectrum, spectrum, sym_function


def dist2(x: Float[Tensor, "*#b n n"], y: Float[Tensor, "*#b n n"]) -> Float[Tensor, "*b"]:
    r"""Return the squared distance ``sum_i l_i^2`` without eigenvectors.

    ``e^l`` are the eigenvalues of ``x^-1 y``, and ``G = L_x^-1 (y - x) L_y^-T`` has singular values ``2 |sinh(l/2)|``:
    nothing cancels for close pairs, and of far pairs both the large and the small eigenvalues come out.
    """
    half = torch.linalg.solve_triangular(cholesky(x), y - x, upper=False)
    g = torch.linalg.solve_triangular(cholesky(y).mT, half, upper=True, left=False)
    q = eigenvalues(g @ g.mT).clamp_min(0)
    return (q * asinhc_sqrt(q / 4).square()).sum(-1)


@torch.no_grad()
def pencil(x: Float[Tensor, "*#b n n"], y: Float[Tensor, "*#b n n"]) -> tuple[Tensor, Tensor]:
    r"""Return ``l [*b, n]`` and ``B [*b, n, n]`` with ``B^T x B = I`` and ``B^T y B = diag(e^l)``, without a graph.

    With ``x = L_x L_x^T``, ``y = L_y L_y^T`` and ``M = L_x^-1 L_y``, ``P = L_x^T B`` diagonalises ``W = M M^T``.
    Decomposed is ``W - W^-1 = 2 sinh(log W) = G (M^T + M^-1)``, where ``G = M - M^-T`` is formed as
    ``L_x^-1 (y - x) L_y^-T``: nothing cancels for close pairs, and far ones keep both ends of the spectrum.
    """
    solve = torch.linalg.solve_triangular
    lower, right = cholesky(x), cholesky(y)
    g = solve(right.mT, solve(lower, y - x, upper=False), upper=True, left=False)
    m = solve(lower, right, upper=False)
    values, vectors = spectrum(g @ (m.mT + lower_inverse(m)))
    return (values / 2).asinh(), solve(lower.mT, vectors, upper=True)


class Whitened:
    r"""A pair of points as seen from the first: ``W = L^-1 y L^-T`` with ``x = L L^T``, decomposed once.

    Args:
        x: Positive definite ``[*b, n, n]``.
        y: Positive definite, of a batch that broadcasts.
        values: The first part of ``pencil(x, y)``.
        basis: The second.
    """

    def __init__(self, x: Tensor, y: Tensor, values: Tensor, basis: Tensor) -> None:
        self.lower = cholesky(x)
        self.inverse = lower_inverse(self.lower)
        self.matrix = congruence(self.inverse, y)
        self.logs = Spectrum(values, self.lower.detach().mT @ basis)
        self.spectrum = Spectrum(values.exp(), self.logs.vectors)

    def log(self) -> Tensor:
        """Return ``log W``."""
        value = congruence(self.logs.vectors, self.logs.values.diag_embed())
        return with_value(value, sym_function(self.matrix, LOG, self.spectrum))

    def function(self, f: ScalarFunction) -> Tensor:
        """Return ``f(W)``."""
        return sym_function(self.matrix, f, self.spectrum)


class _SquaredDistance(torch.autograd.Function):
    """``sum_i l_i^2`` with the gradients ``-2 B l B^T`` in x and ``2 B l e^-l B^T`` in y.

    Autograd's own path goes through W, and loses as many digits as the condition number of W has.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, values: Tensor, basis: Tensor) -> Tensor:
        return values.square().sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def gradients(
        x: Tensor, y: Tensor, values: Tensor, basis: Tensor, w: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients, times ``w`` (shape = batch)."""
        if not differentiated(*(t for t in (x, y, w) if t is not None)):
            values = values.unsqueeze(-2)
            scale = 2 * values if w is None else 2 * w[..., None, None] * values
            return -(scale * basis) @ basis.mT, (scale * (-values).exp() * basis) @ basis.mT
        white = Whitened(symmetric_part(x), symmetric_part(y), values, basis)
        log, back = white.log(), white.inverse.mT
        dx, dy = -2 * congruence(back, log), 2 * congruence(back, log @ white.function(INVERSE))
        return (dx, dy) if w is None else (w[..., None, None] * dx, w[..., None, None] * dy)

    @staticmethod
    def backward(ctx: Any, w: Tensor) -> tuple[Tensor | None, ...]:
        x, y, values, basis = ctx.saved_tensors
        return *_SquaredDistance.gradients(x, y, values, basis, w), None, None


class _ForwardMode(_SquaredDistance):
    """The same, also for forward-mode differentiation, which torch.compile cannot trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    @nestable
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        gradients = _SquaredDistance.gradients(*ctx.saved_tensors)
        terms = [(g * t).sum((-2, -1)) for g, t in zip(gradients, tangents[:2], strict=True) if t is not None]
        return sum(terms[1:], terms[0])


def recorded_dist2(x: Float[Tensor, "*#b n n"], y: Float[Tensor, "*#b n n"]) -> Float[Tensor, "*b"]:
    """Return the squared distance of the symmetric parts with its derivatives, from one decomposition."""
    x, y = torch.broadcast_tensors(x, y)
    function = _SquaredDistance if torch.compiler.is_compiling() else _ForwardMode
    return function.apply(x, y, *pencil(symmetric_part(x.detach()), symmetric_part(y.detach())))


def origin_log(y: Float[Tensor, "*b n n"]) -> tuple[Float[Tensor, "*b n n"], Spectrum]:
    """Return ``log y``, as exact for close and far eigenvalues as ``pencil`` has them, and its decomposition."""
    y = symmetric_part(y)
    logs = Spectrum(*pencil(torch.eye(y.shape[-1], dtype=y.dtype, device=y.device), y))
    value = congruence(logs.vectors, logs.values.diag_embed())
    return with_value(value, sym_function(y, LOG, Spectrum(logs.values.exp(), logs.vectors))), logs


def whitened(x: Float[Tensor, "*#b n n"], y: Float[Tensor, "*#b n n"]) -> Whitened:
    """Return the pair as seen from ``x``, decomposed."""
    x, y = symmetric_part(x), symmetric_part(y)
    return Whitened(x, y, *pencil(x, y))


class SPDAffineInvariant(SPD, HomogeneousManifold):
    r"""Positive definite ``n x n`` matrices with ``<u, v>_x = tr(x^-1 u x^-1 v)``, invariant under ``x -> g x g^T``.

    A Hadamard space: of curvature <= 0, with one geodesic between any two points. ``d(x, y)^2`` is the sum of the
    squared logarithms of the eigenvalues of ``x^-1 y``.

    Accuracy (float64): the distance of pairs 1e-6 apart is right to 1e-12 at condition 1e4; of other pairs, to
    a few 1e-9 at condition 1e8 and 1e-6 at 1e12, as Cholesky's rounding allows (docs/accuracy_matrices.md). NaN where
    an argument is not positive definite.

    Source: Pennec, Fillard & Ayache 2006; Bhatia 2007, Positive Definite Matrices, chapter 6.
    """

    def injectivity_radius(self) -> float:
        """Return infinity: the exponential map is a diffeomorphism."""
        return math.inf

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x sym(u) x``."""
        return congruence(symmetric_part(x), symmetric_part(u))

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``tr(x^-1 u x^-1 v)``."""
        inverse = lower_inverse(cholesky(symmetric_part(x)))
        left = congruence(inverse, u)
        right = left if v is None else congruence(inverse, v)
        return (left * right).sum((-2, -1), keepdim=keepdim)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the sum of the squared logarithms of the eigenvalues of ``x^-1 y``, smooth at ``x = y``."""
        value = recorded_dist2(x, y) if differentiated(x, y) else dist2(symmetric_part(x), symmetric_part(y))
        return value[..., None, None] if keepdim else value

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``L exp(L^-1 u L^-T) L^T`` with ``x = L L^T``."""
        lower = cholesky(symmetric_part(x))
        return congruence(lower, sym_function(congruence(lower_inverse(lower), u), EXP))

    @full_precision
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x + u + u x^-1 u / 2``, positive definite for every ``u``, without an eigendecomposition."""
        x, u = symmetric_part(x), symmetric_part(u)
        half = lower_inverse(cholesky(x)) @ u
        return symmetric_part(x + u + half.mT @ half / 2)

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``L log(L^-1 y L^-T) L^T`` with ``x = L L^T``."""
        white = whitened(x, y)
        return congruence(white.lower, white.log())

    def geodesic(self, t: Tensor | float, x: Tensor, y: Tensor) -> Tensor:
        """Return ``L (L^-1 y L^-T)^t L^T`` with ``x = L L^T``, from one decomposition."""
        return self._geodesic(torch.as_tensor(t, dtype=x.dtype, device=x.device), x, y)

    @full_precision
    def _geodesic(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        white = whitened(x, y)
        powers = Spectrum(t.unsqueeze(-1) * white.logs.values, white.logs.vectors)
        return congruence(white.lower, sym_function(t[..., None, None] * white.log(), EXP, powers))

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport ``E v E^T`` with ``E = (y x^-1)^(1/2)``.

        Source: Sra & Hosseini 2015, section 3.
        """
        white = whitened(x, y)
        return congruence(white.lower @ white.function(SQRT) @ white.inverse, symmetric_part(v))

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return the symmetric matrix with diagonal ``z_1, ..., z_n`` and the other ``z_k / sqrt 2`` below it."""
        return symmetric_matrix(z, self.n)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the diagonal and ``sqrt 2`` times what is below."""
        return symmetric_coordinates(u)

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``sum_(i<j) log sinhc((v_i - v_j)/2)`` over the eigenvalues of ``x^-1 u``.

        Source: Said, Bombrun, Berthoumieu & Manton 2017 (the volume in polar coordinates).
        """
        inverse = lower_inverse(cholesky(symmetric_part(x)))
        values = eigenvalues(congruence(inverse, u))
        gaps = (values.unsqueeze(-1) - values.unsqueeze(-2)) / 2
        return log_sinhc_sqrt(gaps.square()).sum((-2, -1)) / 2

    def random_isometry(self, generator: torch.Generator | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """Return an invertible ``g = L Q``, with Q from the Haar measure and ``L L^T`` a draw of ``random``."""
        lower = torch.linalg.cholesky(self.random(self.n, self.n, generator=generator, dtype=dtype))
        return lower @ random_orthogonal(self.n, generator, dtype)

    @full_precision
    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """Return ``g x g^T``."""
        return congruence(g, x)
