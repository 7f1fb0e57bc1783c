"""Correlation matrices of full rank with the off-log metric."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from isometry.manifolds._precision import full_precision
from isometry.manifolds._spd import (
    asymmetry,
    cholesky,
    cone_residual,
    lower_inverse,
    symmetric_coordinates,
    symmetric_matrix,
    symmetric_part,
    with_floor,
)
from isometry.manifolds._spd_flat import Chart, FlatInChart
from isometry.manifolds.spd_log_euclidean import LogChart
from isometry.manifolds.spectral import EXP, Spectrum, spectrum, sym_derivative, sym_exp

_STEPS = 32


def diagonal(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n"]:
    """Return the diagonal."""
    return x.diagonal(dim1=-2, dim2=-1)


def hollow(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Return ``x`` with zeros on the diagonal."""
    return x - diagonal(x).diag_embed()


def diagonal_response(h: Float[Tensor, "*b n n"], at: Spectrum) -> Float[Tensor, "*b n n"]:
    """Return the positive definite A that maps a diagonal ``d`` to the diagonal of ``D exp(h)[d]``."""
    units = torch.eye(h.shape[-1], dtype=h.dtype, device=h.device).diag_embed()
    rows = Spectrum(at.values.unsqueeze(-2), at.vectors.unsqueeze(-3))
    return diagonal(sym_derivative(h.unsqueeze(-3), EXP, units, rows))


def _solved(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a^-1 b`` for positive definite ``a`` and vectors ``b``.

    By Cholesky, as forward-mode derivatives of ``torch.linalg.solve`` are wrong under vmap (torch 2.13).
    """
    inverse = lower_inverse(cholesky(a))
    return (inverse.mT @ (inverse @ b.unsqueeze(-1))).squeeze(-1)


def _newton(s: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``log diag exp(s + d)``, which is to vanish, and d after Newton's step."""
    h = s + d.diag_embed()
    at = spectrum(h)
    values = diagonal(sym_exp(h, at))
    logs = values.log()
    return logs, d - _solved(diagonal_response(h, at), values * logs)


@torch.library.custom_op("isometry::diagonal_of_log", mutates_args=())
def _diagonal_of_log(s: Tensor) -> Tensor:
    """Return the d with ``diag exp(s + d) = 1``: by Newton's steps, and where one fails by a step of the contraction.

    The map ``d -> d - log diag exp(s + d)`` is a contraction (Archakov & Hansen 2021, theorem 1), of a rate that tends
    to 1 with the correlations; with Newton's steps 30 evaluations are enough up to condition 1e12; five are typical.
    NaN where they are not enough. An operation of its own, so that torch.compile need not unroll the iteration.
    """
    d = contracted = candidate = torch.zeros_like(s[..., 0])
    error = torch.full_like(s[..., :1, 0], math.inf)
    close = torch.finfo(s.dtype).eps ** (2 / 3)  # from where one Newton step is exact
    trusted = torch.ones_like(error, dtype=torch.bool)
    for _ in range(_STEPS):
        logs, following = _newton(s, candidate)
        size = logs.abs().amax(-1, keepdim=True)
        accepted = trusted | (size < error)
        d, error = torch.where(accepted, candidate, d), torch.where(accepted, size, error)
        if bool((error <= close).all()):
            break
        contracted = torch.where(accepted, candidate - logs, contracted)
        newton = accepted & following.isfinite().all(-1, keepdim=True)
        candidate, trusted = torch.where(newton, following, contracted), ~newton
    return torch.where(error <= close, d, math.nan)


@_diagonal_of_log.register_fake
def _shape_of_diagonal(s: Tensor) -> Tensor:
    return s.new_empty(s.shape[:-1])


@_diagonal_of_log.register_vmap
def _diagonals_of_logs(info: Any, in_dims: tuple[int], s: Tensor) -> tuple[Tensor, int]:
    return _diagonal_of_log(s.movedim(in_dims[0], 0)), 0


def with_unit_diagonal(s: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Return the correlation matrix ``exp(s + d)``, d diagonal, of a hollow symmetric ``s``.

    The last two Newton steps are recorded by autograd, so that two derivatives are those of the implicit function.

    Source: Archakov & Hansen 2021, A new parametrization of correlation matrices.
    """
    d = _diagonal_of_log(s.detach())
    for _ in range(2):
        d = _newton(s, d)[1]
    return symmetric_part(sym_exp(s + d.diag_embed()))


class OffLogChart(Chart):
    """The matrix logarithm without its diagonal, onto the hollow symmetric matrices.

    Args:
        x: Correlation matrices ``[*b, n, n]``.
    """

    def __init__(self, x: Float[Tensor, "*b n n"]) -> None:
        self.log = LogChart(x)

    def coordinates(self) -> Tensor:
        """Return ``Off(log x)``."""
        return hollow(self.log.coordinates())

    def push(self, u: Tensor) -> Tensor:
        """Return ``Off(D log(x)[u])``."""
        return hollow(self.log.push(u))

    def pull(self, w: Tensor) -> Tensor:
        """Return ``D exp(log x)[w + d]`` with the diagonal d that makes it hollow."""
        image = self.log.pull(w)
        return hollow(image - self.log.pull(self._balance(image)))

    def pull_adjoint(self, g: Tensor) -> Tensor:
        """Return ``Off(D exp(log x)[g + d])`` for hollow g, with the same d."""
        g = hollow(g)
        return hollow(self.log.pull(g - self._balance(self.log.pull(g))))

    def to(self, other: "OffLogChart") -> Tensor:
        """Return the difference of the logarithms without its diagonal."""
        return hollow(self.log.to(other.log))

    def _balance(self, image: Tensor) -> Tensor:
        """Return the diagonal matrix d for which ``D exp(log x)[d]`` has the diagonal of ``image``."""
        at = Spectrum(self.log.spectrum.values.log(), self.log.spectrum.vectors)
        return _solved(diagonal_response(self.log.coordinates(), at), diagonal(image)).diag_embed()


class CorrelationOffLog(FlatInChart):
    r"""Positive definite ``n x n`` matrices of unit diagonal, flat in ``Off(log x)``.

    ``Off`` sets the diagonal to 0, and ``d(x, y) = |Off(log x) - Off(log y)|`` does not change when variables are
    permuted. Every hollow symmetric matrix is the off-diagonal part of one logarithm, whose diagonal is found by
    Newton's iteration. Frechet means are closed.

    Range: correlations up to condition 1e12. NaN where an argument is not positive definite.

    Args:
        n: Number of variables, at least 2; the intrinsic dimension is ``n(n-1)/2``.
        upcast: Compute in float64 whatever the input (default). ``False`` computes float32 in float32.

    Source: Thanwerdin & Pennec 2022; Archakov & Hansen 2021.
    """

    def __init__(self, n: int, upcast: bool = True) -> None:
        super().__init__()
        if n < 2:
            raise ValueError(f"CorrelationOffLog: expected at least two variables, but got n={n}.")
        self.n = n
        self.upcast = upcast

    @property
    def dim(self) -> int:
        """The intrinsic dimension, ``n(n-1)/2``."""
        return self.n * (self.n - 1) // 2

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are ``n x n`` matrices."""
        return (self.n, self.n)

    def with_dim(self, dim: int) -> Self:
        """Return the same geometry of the matrices that have ``dim = n(n-1)/2`` correlations."""
        for n in range(2, dim + 2):
            if n * (n - 1) // 2 == dim:
                return type(self)(n, upcast=self.upcast)
        raise ValueError(
            f"CorrelationOffLog: n variables have n(n-1)/2 = 1, 3, 6, 10, ... correlations, but got dim={dim}."
        )

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return float64 with ``upcast``, else float32 at least."""
        return torch.float64 if self.upcast else super().compute_dtype(dtype)

    def point_residual(self, x: Tensor) -> Tensor:
        """Return that of positive definite matrices, plus the largest ``|x_ii - 1|``."""
        return cone_residual(x) + (diagonal(x.double()) - 1).abs().amax(-1)

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``|u - u^T|/|u|``, plus the length of the diagonal over ``|u|``."""
        size = torch.linalg.matrix_norm(u)
        return asymmetry(u) + torch.linalg.vector_norm(diagonal(u), dim=-1) / torch.where(size == 0, 1, size)

    def projx(self, x: Tensor) -> Tensor:
        """Return the correlations ``x_ij / sqrt(x_ii x_jj)`` of x, its eigenvalues raised as ``SPD.projx`` does."""
        return self._correlations(x, self.n * torch.finfo(x.dtype).eps)

    @full_precision
    def _correlations(self, x: Tensor, floor: float) -> Tensor:
        x = with_floor(x, floor)
        scale = diagonal(x).rsqrt()
        return x * scale.unsqueeze(-1) * scale.unsqueeze(-2)

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(u + u^T)/2`` without its diagonal."""
        return hollow(symmetric_part(u)).expand(torch.broadcast_shapes(x.shape, u.shape))

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the identity matrix."""
        return torch.eye(self.n, dtype=dtype, device=device).expand(self._size(size)).clone()

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return points whose coordinates ``Off(log x)_ij`` are normal with variance ``1/(2n)``."""
        return self._random(torch.randn(self._size(size), generator=generator, dtype=dtype, device=device))

    @full_precision
    def _random(self, z: Tensor) -> Tensor:
        return with_unit_diagonal(hollow(symmetric_part(z)) / self.n**0.5)

    def _chart(self, x: Tensor) -> OffLogChart:
        return OffLogChart(x)

    def _point(self, coordinates: Tensor) -> Tensor:
        return with_unit_diagonal(coordinates)

    def _flat(self, z: Tensor) -> Tensor:
        return symmetric_matrix(torch.cat([z.new_zeros(*z.shape[:-1], self.n), z], -1), self.n)

    def _flattened(self, w: Tensor) -> Tensor:
        return symmetric_coordinates(w)[..., self.n :]
