"""Bases and unfoldings: what the formats of low-rank tensors share.

Modes are counted from 0 among the last d dimensions of a tensor; everything before them is batch.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

_SWEEPS = 16


def new_directions(
    U: Inexact[Tensor, "*b n r"], K: Inexact[Tensor, "*b n k"], limit: int | None = None
) -> Inexact[Tensor, "*b n new"]:
    """Return ``Q`` with ``[U, Q]`` orthonormal, ``new = min(k, n - r)`` columns whose span with U contains that of K.

    The columns of Q come from one QR decomposition of ``[U, K]``, so that they are orthonormal to rounding whatever the
    rank of K, which may be 0. Where ``limit`` allows fewer columns, they are the leading directions of K.
    """
    if limit is not None and limit < min(K.shape[-1], U.shape[-2] - U.shape[-1]):
        K = torch.linalg.svd(across(U, K), full_matrices=False).U[..., :limit]
    return torch.linalg.qr(torch.cat([U, K], -1)).Q[..., U.shape[-1] :]


def across(U: Inexact[Tensor, "*b n r"], K: Inexact[Tensor, "*b n k"]) -> Inexact[Tensor, "*b n k"]:
    """Return ``(1 - U U^H) K``, in two passes: one leaves the rounding of a K that is long along U."""
    for _ in range(2):
        K = K - U @ (U.mH @ K)
    return K


def random_basis(
    shape: Sequence[int],
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Inexact[Tensor, "*b n r"]:
    """Return orthonormal columns that span a uniformly distributed subspace, in a tensor of ``shape``."""
    return torch.linalg.qr(torch.randn(*shape, generator=generator, dtype=dtype, device=device)).Q


def equalized(c: Inexact[Tensor, "..."], modes: Sequence[int], d: int) -> Inexact[Tensor, "..."]:
    """Return a tensor near ``c`` whose unfoldings by the given modes have nearly equal singular values.

    In a few sweeps each unfolding in turn is replaced by its polar factor, at last that of the last mode given.
    """
    for k in [*modes] * _SWEEPS:
        P, _, Qh = truncated_svd(unfold(c, k, d))
        c = fold(P @ Qh, k, c.shape[-d:])
    return c


def kept_rank(s: Float[Tensor, "*b k"], rank: int | None, tol: float | None) -> int:
    """Return how many singular values to keep: at most ``rank``, and as few as ``tol`` allows, but one.

    ``min {r >= 1: (sum_(j > r) s_j^2)^(1/2) <= tol (sum_j s_j^2)^(1/2)}``; of a batch, the most that a member needs.
    """
    k = s.shape[-1] if rank is None else min(rank, s.shape[-1])
    if tol is None:
        return max(k, 1)
    tails = s.square().flip(-1).cumsum(-1).flip(-1).sqrt()  # the norm of s_j, s_(j+1), ...
    needed = (tails > tol * tails[..., :1]).reshape(-1, s.shape[-1]).any(0)
    return max(min(k, int(needed.sum())), 1)


def truncated_svd(
    a: Inexact[Tensor, "*b m n"], rank: int | None = None, tol: float | None = None
) -> tuple[Inexact[Tensor, "*b m r"], Float[Tensor, "*b r"], Inexact[Tensor, "*b r n"]]:
    """Return ``P, s, Q^H`` of ``a ~ P diag(s) Q^H``, the best approximation with the rank that ``kept_rank`` gives."""
    P, s, Qh = torch.linalg.svd(a, full_matrices=False)
    r = kept_rank(s, rank, tol)
    return P[..., :r], s[..., :r], Qh[..., :r, :]


def unfold(c: Inexact[Tensor, "..."], mode: int, d: int) -> Inexact[Tensor, "*b n rest"]:
    """Return ``Mat_k(c)``: the mode as rows, the other modes in their order as columns."""
    return c.movedim(mode - d, -d).flatten(1 - d)


def fold(a: Inexact[Tensor, "*b n rest"], mode: int, sizes: Sequence[int]) -> Inexact[Tensor, "..."]:
    """Return ``Ten_k(a)``, the inverse of ``unfold``; ``sizes`` of all modes, of which the mode's own is not read."""
    others = [n for k, n in enumerate(sizes) if k != mode]
    return a.unflatten(-1, others).movedim(-len(sizes), mode - len(sizes))


def mode_product(c: Inexact[Tensor, "..."], a: Inexact[Tensor, "*b p q"], mode: int, d: int) -> Inexact[Tensor, "..."]:
    """Return ``c x_k a``: the matrix ``a`` applied to the mode."""
    return fold(a @ unfold(c, mode, d), mode, c.shape[-d:])


def multi_mode_product(
    c: Inexact[Tensor, "..."], matrices: Sequence[Inexact[Tensor, "..."]], skip: int | None = None
) -> Inexact[Tensor, "..."]:
    """Return ``c x_1 a_1 x_2 a_2 ... x_d a_d``, without mode ``skip``."""
    for k, a in enumerate(matrices):
        if k != skip:
            c = mode_product(c, a, k, len(matrices))
    return c


def leading(a: Inexact[Tensor, "..."], sizes: Sequence[int]) -> Inexact[Tensor, "..."]:
    """Return the first entries of the last dimensions, as many as ``sizes`` say: a view."""
    for k, n in enumerate(sizes):
        a = a.narrow(k - len(sizes), 0, n)
    return a


def pad(a: Inexact[Tensor, "..."], sizes: Sequence[int]) -> Inexact[Tensor, "..."]:
    """Return a new tensor: ``a`` with zeros after its entries, its last dimensions of the given sizes."""
    batch = a.ndim - len(sizes)
    padded = a.new_zeros(*a.shape[:batch], *sizes)
    leading(padded, a.shape[batch:]).copy_(a)
    return padded


def deviation(U: Inexact[Tensor, "*b n r"]) -> Float[Tensor, "*b"]:
    """Return the largest entry of ``|U^H U - 1|``."""
    eye = torch.eye(U.shape[-1], dtype=U.dtype, device=U.device)
    return (U.mH @ U - eye).abs().amax((-2, -1))
