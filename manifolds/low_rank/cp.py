"""Sums of R products (CP) and rings: formats whose sets are not closed, so that nothing retracts to them.

The limit of tensors of CP rank R may have a greater rank, ``a a b + a b a + b a a`` that of tensors of rank 2, so that
the best approximation of rank R need not exist: "the nearest tensor of rank R" is no map. Where it does not, the terms
of approximations grow without bound and cancel. What there is instead: alternating least squares, which says
whether it converged, the sensitivity that measures cancelling terms, and its minimization at a given error.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank._linalg import unfold

Factors = tuple[Tensor, ...]


class CPFit(NamedTuple):
    """What alternating least squares has found.

    Args:
        factors: ``F_k [n_k, R]``.
        error: ``|w - W| / |w|``.
        sweeps: Number of sweeps.
        converged: Whether the last sweep lowered the error by less than the tolerance: then this is nearly a stationary
            point, not necessarily a minimum, and of border rank (see the module) possibly neither.
    """

    factors: Factors
    error: float
    sweeps: int
    converged: bool


def cp_to_dense(factors: Sequence[Inexact[Tensor, "..."]]) -> Inexact[Tensor, "..."]:
    """Return ``W = sum_r F_1[:, r] o ... o F_d[:, r]`` of factors ``F_k [*b, n_k, R]``."""
    return khatri_rao(factors).sum(-1).unflatten(-1, [F.shape[-2] for F in factors])


def ring_to_dense(cores: Sequence[Inexact[Tensor, "..."]]) -> Inexact[Tensor, "..."]:
    """Return ``W[i_1, ..., i_d] = tr(G_1[i_1] ... G_d[i_d])``, cores ``G_k [*b, r_(k-1), n_k, r_k]``, ``r_0 = r_d``."""
    w = cores[0]
    for core in cores[1:]:
        w = (w @ core.flatten(-2).unsqueeze(-3)).unflatten(-1, core.shape[-2:]).flatten(-3, -2)
    return w.diagonal(dim1=-3, dim2=-1).sum(-1).unflatten(-1, [core.shape[-2] for core in cores])


def khatri_rao(factors: Sequence[Inexact[Tensor, "..."]]) -> Inexact[Tensor, "*b rows terms"]:
    """Return the products of the factors' rows, column by column: ``[*b, prod n_k, R]``, the last mode fastest."""
    ranks = {F.shape[-1] for F in factors}
    if len(ranks) != 1:
        raise ShapeError(f"CP: expected factors [*b, n_k, R] with one R, but got {[tuple(F.shape) for F in factors]}.")
    return functools.reduce(lambda a, F: (a.unsqueeze(-2) * F.unsqueeze(-3)).flatten(-3, -2), factors)


def sensitivity(factors: Sequence[Inexact[Tensor, "..."]]) -> Float[Tensor, "*b"]:
    r"""Return how much noise in the factors moves the tensor, ``lim E |W(F + s N) - W(F)|^2 / s^2``, N standard normal.

    ``sum_k n_k sum_r prod_(j != k) |F_j[:, r]|^2``

    Terms that grow and cancel have a large one. (For complex factors, N has variance 1 in all.)

    Source: Phan et al. 2020, Stable low-rank tensor decomposition for compression of convolutional neural network,
        section 3.
    """
    return _weights(factors).sum(-1)


def balance(factors: Sequence[Inexact[Tensor, "..."]]) -> Factors:
    """Return factors of the same terms, of least sensitivity: the squared norms of a term's columns are as the n_k."""
    norms = [F.abs().square().sum(-2, keepdim=True).sqrt() for F in factors]
    scale = math.prod(a / F.shape[-2] ** 0.5 for a, F in zip(norms, factors, strict=True)) ** (1 / len(factors))
    return tuple(
        F * (F.shape[-2] ** 0.5 * scale / torch.where(a == 0, 1, a)) for F, a in zip(factors, norms, strict=True)
    )


def cp_als(
    w: Inexact[Tensor, "..."],
    rank: int,
    *,
    sweeps: int = 500,
    tol: float = 1e-8,
    generator: torch.Generator | None = None,
) -> CPFit:
    """Return an approximation of ``w`` by ``rank`` products, by alternating least squares.

    The error never rises, but where it stops depends on the start, a normal one, and need not be the least: see whether
    the ``error`` will do and ``converged`` is true, and try other starts.

    Args:
        w: One dense tensor of two modes or more, not zero.
        rank: Number of products, at least 1.
        sweeps: Largest number of sweeps over all factors.
        tol: Stop when a sweep lowers the relative error by less.
        generator: For the start.

    Raises:
        ValueError: The rank or the tensor are impossible.
    """
    length = torch.linalg.vector_norm(w)
    if w.ndim < 2 or rank < 1 or not 0 < float(length) < math.inf:
        raise ValueError(
            f"cp_als: expected a finite tensor, not zero, of two modes or more and a rank of at least 1, but got the "
            f"shape {tuple(w.shape)}, norm {float(length)} and rank={rank}."
        )
    factors = [torch.randn(n, rank, generator=generator, dtype=w.dtype).to(w.device) for n in w.shape]
    error, converged, sweep = 1.0, False, 0
    while sweep < sweeps and not converged:
        for k in range(w.ndim):
            products = khatri_rao(factors[:k] + factors[k + 1 :])
            factors[k] = torch.linalg.lstsq(products, unfold(w, k, w.ndim).mT).solution.mT
        before, sweep = error, sweep + 1
        error = float(torch.linalg.vector_norm(w - cp_to_dense(factors)) / length)
        converged = before - error < tol
    return CPFit(balance(factors), error, sweep, converged)


def reduce_sensitivity(
    w: Inexact[Tensor, "..."], factors: Sequence[Inexact[Tensor, "..."]], bound: float, *, sweeps: int = 100
) -> Factors:
    r"""Return factors of lower sensitivity whose error is still at most ``bound`` (error-preserving correction).

    ``min ss(F)  subject to  |w - W(F)| <= bound |w|``, factor by factor, each step exact: with
    ``G = Had_(j != k) F_j^T conj(F_j)`` and ``D = diag_r(sum_(l != k) n_l prod_(j != k, l) |F_j[:, r]|^2)``,

    ``F_k (G + lambda D) = Mat_k(w) conj(KR)``, ``lambda >= 0`` such that the error is ``bound``, or 0 if none is.

    Neither the sensitivity nor, beyond the bound, the error rises; a local minimum is approached.

    Args:
        w: One dense tensor.
        factors: The factors to start from, with an error of at most ``bound``.
        bound: Largest error relative to ``|w|``.
        sweeps: Number of sweeps over all factors.

    Raises:
        ValueError: The error is above the bound already, or the bound so high that 0 keeps it.

    Source: Phan et al. 2020, section 4.
    """
    length = torch.linalg.vector_norm(w)
    error = float(torch.linalg.vector_norm(w - cp_to_dense(factors)) / length)
    if not error <= bound < 1:
        raise ValueError(
            f"reduce_sensitivity: expected a bound below 1 and factors with at most that error, but got bound={bound} "
            f"and an error of {error}."
        )
    current = list(balance(factors))
    for _ in range(sweeps):
        for k in range(w.ndim):
            current[k] = _least_sensitive(w, current, k, float(bound * length))
        current = list(balance(current))
    return tuple(current)


def _least_sensitive(w: Tensor, factors: Sequence[Tensor], k: int, bound: float) -> Tensor:
    """Return the factor k of least sensitivity among those with an error of at most ``bound``, the others given.

    In the eigenvectors of ``D^(-1/2) G D^(-1/2)``, with eigenvalues e and the right side c, the squared error is its
    least value plus ``sum |c|^2 lambda^2/(e (e + lambda)^2)``, which rises with lambda: bisection finds the bound.
    """
    others = [F for j, F in enumerate(factors) if j != k]
    products, matrix = khatri_rao(others), unfold(w, k, w.ndim)
    root = _weights(others).clamp(min=torch.finfo(products.abs().dtype).tiny).rsqrt()
    scaled = products * root
    _, s, Qh = torch.linalg.svd(scaled, full_matrices=False)
    e = s.square().clamp(min=float(s[0]) ** 2 * torch.finfo(s.dtype).eps ** 2)
    c = matrix @ scaled.conj() @ Qh.mT
    least = torch.linalg.vector_norm(matrix - c / e @ Qh.conj() @ scaled.mT).square()
    squares = c.abs().square().sum(0)

    def excess(exponent: float) -> float:
        lam = e[0] * 10.0**exponent
        return float(least + (squares * lam**2 / (e * (e + lam).square())).sum()) - bound**2

    low, high = -30.0, 15.0
    if excess(low) > 0:
        return factors[k]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) <= 0 else (low, middle)
    return (c / (e + e[0] * 10.0**low)) @ Qh.conj() * root


def _weights(factors: Sequence[Tensor]) -> Float[Tensor, "*b terms"]:
    """Return ``sum_k n_k prod_(j != k) |F_j[:, r]|^2``."""
    squares = [F.abs().square().sum(-2) for F in factors]
    total = torch.zeros_like(squares[0])
    for k, F in enumerate(factors):
        total = total + F.shape[-2] * math.prod(squares[:k] + squares[k + 1 :], start=torch.ones_like(total))
    return total
