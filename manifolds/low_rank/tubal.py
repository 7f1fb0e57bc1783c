"""The t-product of third-order tensors: matrices of tubes, each frequency along the tubes a matrix of its own."""

from typing import NamedTuple

import torch
from jaxtyping import Complex, Inexact
from torch import Tensor

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank._linalg import kept_rank
from isometry.manifolds.low_rank.matrix import MatrixPoint


class TubalSVD(NamedTuple):
    """``A = U * S * V^H`` with ``U^H * U = V^H * V = 1`` and S of tubes on the diagonal.

    Args:
        U: ``[*b, m, r, t]``.
        S: ``[*b, r, r, t]``.
        V: ``[*b, n, r, t]``.
    """

    U: Tensor
    S: Tensor
    V: Tensor


def to_frequencies(a: Inexact[Tensor, "*b m n t"]) -> Complex[Tensor, "*b f m n"]:
    """Return the Fourier transform along the tubes; of real ones the first ``t//2 + 1`` frequencies, which say all."""
    return (torch.fft.fft(a) if a.is_complex() else torch.fft.rfft(a)).movedim(-1, -3)


def from_frequencies(a: Complex[Tensor, "*b f m n"], tube: int, *, real: bool) -> Inexact[Tensor, "*b m n t"]:
    """Return the tensor of the given frequencies, the inverse of ``to_frequencies``.

    Args:
        a: The frequencies.
        tube: The length t of the tubes.
        real: Whether the tensor is real, so that ``f = t//2 + 1``; else ``f = t``.

    Raises:
        ShapeError: The number of frequencies is another.
    """
    expected = tube // 2 + 1 if real else tube
    if a.shape[-3] != expected:
        raise ShapeError(f"from_frequencies: expected [*b, {expected}, m, n], but got {tuple(a.shape)}.")
    tubes = a.movedim(-3, -1)
    return torch.fft.irfft(tubes, tube) if real else torch.fft.ifft(tubes)


def t_product(a: Inexact[Tensor, "..."], b: Inexact[Tensor, "..."]) -> Inexact[Tensor, "*b m n t"]:
    """Return ``A * B``: ``(A * B)_ij`` is the sum over k of the circular convolutions of the tubes ``A_ik``, ``B_kj``.

    Args:
        a: ``[*b, m, k, t]``.
        b: ``[*b, k, n, t]`` of the same dtype.

    Raises:
        ShapeError: The sizes do not fit.
        TypeError: The dtypes differ.

    Source: Kilmer & Martin 2011, Factorization strategies for third-order tensors.
    """
    if a.dtype != b.dtype:
        raise TypeError(f"t_product: expected two tensors of one dtype, but got {a.dtype} and {b.dtype}.")
    if a.shape[-2:] != (b.shape[-3], b.shape[-1]):
        raise ShapeError(
            f"t_product: expected [*b, m, k, t] and [*b, k, n, t], but got {tuple(a.shape)} and {tuple(b.shape)}."
        )
    return from_frequencies(to_frequencies(a) @ to_frequencies(b), a.shape[-1], real=not a.is_complex())


def t_transpose(a: Inexact[Tensor, "*b m n t"]) -> Inexact[Tensor, "*b n m t"]:
    """Return ``A^H``, for which ``(A * B)^H = B^H * A^H``: the slices' adjoints, all but the first in reverse order."""
    return a.transpose(-3, -2).conj().flip(-1).roll(1, -1)


def tubal_point(a: Inexact[Tensor, "*b m n t"], *, rank: int | None = None, tol: float | None = None) -> MatrixPoint:
    """Return the frequencies' singular value decompositions: a batch of points of ``FixedRankMatrix(m, n)``.

    The tubal rank is one for all frequencies. With the blocks of tangent vectors, steps and retractions
    of that manifold, frequency by frequency, real tensors stay real: their other frequencies are the conjugate ones.

    Args:
        a: The tensor.
        rank: The largest rank.
        tol: Largest error relative to ``|a|``, as far as ``rank`` allows it.

    Raises:
        ValueError: The rank is impossible.
    """
    most = min(a.shape[-3:-1])
    if rank is not None and not 1 <= rank <= most:
        raise ValueError(f"tubal_point: expected a rank between 1 and {most}, but got {rank}.")
    frequencies = to_frequencies(a)
    P, s, Qh = torch.linalg.svd(frequencies, full_matrices=False)
    times = torch.ones_like(s[..., :1])  # how often the full transform has a frequency or its conjugate
    if not a.is_complex():
        times += 1
        for k in {0, a.shape[-1] // 2} if a.shape[-1] % 2 == 0 else {0}:  # real frequencies: so must be their bases
            times.select(-2, k).fill_(1)
            exact = torch.linalg.svd(frequencies.select(-3, k).real, full_matrices=False)
            for whole, part, axis in zip((P, s, Qh), exact, (-3, -2, -3), strict=True):
                whole.select(axis, k).copy_(part)
    r = kept_rank((times * s.square()).sum(-2).sqrt(), rank, tol)
    return MatrixPoint(P[..., :r], torch.diag_embed(s[..., :r].to(P.dtype)), Qh[..., :r, :].mH)


def t_svd(a: Inexact[Tensor, "*b m n t"], *, rank: int | None = None, tol: float | None = None) -> TubalSVD:
    """Return the tubal singular value decomposition; with ``rank``, of the best approximation of that tubal rank.

    Args:
        a: The tensor.
        rank: The largest tubal rank.
        tol: Largest error relative to ``|a|``.

    Source: Kilmer & Martin 2011, theorem 4.3.
    """
    point = tubal_point(a, rank=rank, tol=tol)
    return TubalSVD(*(from_frequencies(z, a.shape[-1], real=not a.is_complex()) for z in point))


def tubal_rank(a: Inexact[Tensor, "*b m n t"], tol: float = 1e-10) -> int:
    """Return the least tubal rank with a relative error of at most ``tol``; of a batch, the largest."""
    return tubal_point(a, tol=tol).S.shape[-1]
