"""Matrices of fixed rank."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from isometry.manifolds.low_rank._linalg import across, deviation, new_directions, pad, random_basis, truncated_svd
from isometry.manifolds.low_rank.base import LowRankManifold, Ranks


class MatrixPoint(NamedTuple):
    """``W = U S V^H``.

    Args:
        U: Orthonormal columns, ``[*b, m, r]``.
        S: The core, ``[*b, r, r]``; of an augmented point possibly ``[*b, p, q]``.
        V: Orthonormal columns, ``[*b, n, r]``.
    """

    U: Tensor
    S: Tensor
    V: Tensor


class MatrixTangent(NamedTuple):
    """``xi = U M V^H + K V^H + U L^H`` with ``U^H K = 0`` and ``V^H L = 0``.

    Args:
        M: The block of S, ``[*b, r, r]``.
        K: The block of U, ``[*b, m, r]``.
        L: The block of V, ``[*b, n, r]``.
    """

    M: Tensor
    K: Tensor
    L: Tensor


class FixedRankMatrix(LowRankManifold[MatrixPoint, MatrixTangent]):
    r"""The real or complex ``m x n`` matrices of rank r, ``W = U S V^H``, of dimension ``r (m + n - r)``.

    With ``P(Z) = U U^H Z + Z V V^H - U U^H Z V V^H``::

        blocks of P(Z)   M = U^H Z V,    K = (1 - U U^H) Z V,    L = (1 - V V^H) Z^H U
        embed            [U, Q_K] [[S + M, (Q_L^H L)^H], [Q_K^H K, 0]] [V, Q_L]^H
        truncate         the singular value decomposition of the core: the best approximation

    Nothing is divided by the core, whose singular values may be as small as they like. The ranks are those of U and of
    V, and differ only where an augmented basis fills its space.

    Args:
        m: Number of rows.
        n: Number of columns.

    Source: Vandereycken 2013, Low-rank matrix completion by Riemannian optimization; Koch & Lubich 2007.
    """

    core = 1

    def __init__(self, m: int, n: int) -> None:
        super().__init__((m, n))

    @property
    def full_ranks(self) -> tuple[int, ...]:
        """The sizes m and n: a matrix has at most the smaller rank, but its augmented bases may fill both spaces."""
        return self.shape

    def dim(self, ranks: Ranks) -> int:
        """Return ``r (m + n - r)``."""
        r, m, n = self._rank(ranks), *self.shape
        return r * (m + n - r)

    def _rank(self, ranks: Ranks) -> int:
        """Return the rank of a point: that of U and of V."""
        r, q = self.check_ranks(ranks)
        if r != q:
            raise ValueError(f"{self!r}: expected equal ranks of rows and columns, but got {ranks}.")
        return r

    def leaf_shapes(self, ranks: Ranks) -> list[tuple[int, ...]]:
        """Return the shapes of U, S and V."""
        p, q = self.check_ranks(ranks)
        m, n = self.shape
        return [(m, p), (p, q), (n, q)]

    def ranks(self, x: MatrixPoint) -> tuple[int, ...]:
        """Return the numbers of columns of U and of V."""
        return tuple(x.S.shape[-2:])

    def leaves(self, x: MatrixPoint | MatrixTangent) -> list[Tensor]:
        """Return U, S and V, or K, M and L."""
        return [x.K, x.M, x.L] if isinstance(x, MatrixTangent) else list(x)

    def point(self, leaves: Sequence[Tensor]) -> MatrixPoint:
        """Return the point with these U, S and V."""
        return MatrixPoint(*leaves)

    def tangent(self, leaves: Sequence[Tensor]) -> MatrixTangent:
        """Return the tangent vector with these K, M and L."""
        K, M, L = leaves
        return MatrixTangent(M, K, L)

    def random(
        self,
        ranks: Ranks,
        *,
        batch: Sequence[int] = (),
        scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> MatrixPoint:
        """Return uniform bases and the core ``scale/sqrt(r)``: all singular values equal, norm ``scale``."""
        r = self._rank(ranks)
        U, V = (random_basis((*batch, n, r), generator, dtype, device) for n in self.shape)
        S = scale / r**0.5 * torch.eye(r, dtype=U.dtype, device=U.device)
        return MatrixPoint(U, S.expand(*batch, r, r).clone(), V)

    def decompose(
        self, w: Inexact[Tensor, "*b m n"], *, ranks: tuple[int, ...] | None, tol: float | None
    ) -> MatrixPoint:
        """Return the best approximation of ``w``, by its singular value decomposition."""
        P, s, Qh = truncated_svd(w, None if ranks is None else min(ranks), tol)
        return MatrixPoint(P, torch.diag_embed(s.to(w.dtype)), Qh.mH)

    def ranks_within(self, w: Inexact[Tensor, "*b m n"], budget: int) -> tuple[int, ...]:
        """Return the largest rank with ``r (m + n + r) <= budget``."""
        fitting = [r for r in range(1, min(self.shape) + 1) if self.num_parameters(r) <= budget]
        if not fitting:
            raise ValueError(
                f"{self!r}: expected a budget of at least {self.num_parameters(1)} parameters, those of rank 1, "
                f"but got {budget}."
            )
        return (fitting[-1], fitting[-1])

    def to_dense(self, x: MatrixPoint) -> Inexact[Tensor, "*b m n"]:
        """Return ``U S V^H``."""
        return x.U @ x.S @ x.V.mH

    def orthonormality(self, x: MatrixPoint) -> Float[Tensor, "*b"]:
        """Return the largest entry of ``|U^H U - 1|`` and ``|V^H V - 1|``."""
        return torch.maximum(deviation(x.U), deviation(x.V))

    def truncate(self, y: MatrixPoint, *, ranks: Ranks | None = None, tol: float | None = None) -> MatrixPoint:
        """Return the best approximation of ``y``: singular vectors of ``R_U S R_V^H``, from the factors' QR."""
        U, R_U = torch.linalg.qr(y.U)
        V, R_V = torch.linalg.qr(y.V)
        rank = None if ranks is None else min(self.check_ranks(ranks))
        P, s, Qh = truncated_svd(R_U @ y.S @ R_V.mH, rank, tol)
        return MatrixPoint(U @ P, torch.diag_embed(s.to(U.dtype)), V @ Qh.mH)

    def augment(self, x: MatrixPoint, t: MatrixTangent, max_ranks: Ranks | None = None) -> MatrixPoint:
        """Return ``[U, Q_K] [[S, 0], [0, 0]] [V, Q_L]^H``."""
        p, q = self.full_ranks if max_ranks is None else self.check_ranks(max_ranks)
        U = torch.cat([x.U, new_directions(x.U, t.K, p - x.U.shape[-1])], -1)
        V = torch.cat([x.V, new_directions(x.V, t.L, q - x.V.shape[-1])], -1)
        return MatrixPoint(U, pad(x.S, (U.shape[-1], V.shape[-1])), V)

    def gauge(self, x: MatrixPoint, t: MatrixTangent) -> MatrixTangent:
        """Return ``M``, ``(1 - U U^H) K`` and ``(1 - V V^H) L``."""
        return MatrixTangent(t.M, across(x.U, t.K), across(x.V, t.L))

    def project(self, x: MatrixPoint, z: Inexact[Tensor, "*b m n"]) -> MatrixTangent:
        """Return ``P_x(z)``: the gauge of ``U^H z V``, ``z V`` and ``z^H U``."""
        self.check_dense(z)
        K = z @ x.V
        return self.gauge(x, MatrixTangent(x.U.mH @ K, K, z.mH @ x.U))

    def transport(self, x: MatrixPoint, t: MatrixTangent, x_new: MatrixPoint) -> MatrixTangent:
        """Return the gauge of ``xi V'`` and ``xi^H U'``, each by products of thin matrices."""
        u, v = x.U.mH @ x_new.U, x.V.mH @ x_new.V
        K = (x.U @ t.M + t.K) @ v + x.U @ (t.L.mH @ x_new.V)
        L = (x.V @ t.M.mH + t.L) @ u + x.V @ (t.K.mH @ x_new.U)
        return self.gauge(x_new, MatrixTangent(x_new.U.mH @ K, K, L))

    @property
    def _arguments(self) -> dict[str, Any]:
        m, n = self.shape
        return {"m": m, "n": n}

    def vector(self, x: MatrixPoint, t: MatrixTangent) -> MatrixPoint:
        """Return ``[U, Q_K] [[M, (Q_L^H L)^H], [Q_K^H K, 0]] [V, Q_L]^H``."""
        return self.embed(x._replace(S=torch.zeros_like(x.S)), t)

    def embed(self, x: MatrixPoint, t: MatrixTangent) -> MatrixPoint:
        """Return ``[U, Q_K] [[S + M, (Q_L^H L)^H], [Q_K^H K, 0]] [V, Q_L]^H``."""
        y = self.augment(x, t)
        p, q = x.S.shape[-2:]
        y.S[..., :p, :q] += t.M
        y.S[..., p:, :q] = y.U[..., p:].mH @ t.K
        y.S[..., :p, q:] = (y.V[..., q:].mH @ t.L).mH
        return y
