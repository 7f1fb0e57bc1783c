"""Tensors of fixed multilinear rank."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from isometry.manifolds.low_rank._linalg import (
    across,
    deviation,
    equalized,
    fold,
    leading,
    multi_mode_product,
    new_directions,
    pad,
    random_basis,
    truncated_svd,
    unfold,
)
from isometry.manifolds.low_rank.base import LowRankManifold, Ranks
from isometry.manifolds.low_rank.core_shape import mode_energies, select_tucker_ranks


class TuckerPoint(NamedTuple):
    """``W = C x_1 U_1 ... x_d U_d``.

    Args:
        core: C, ``[*b, r_1, ..., r_d]``.
        factors: Orthonormal columns ``U_k [*b, n_k, r_k]``.
    """

    core: Tensor
    factors: tuple[Tensor, ...]


class TuckerTangent(NamedTuple):
    """``xi = dC x_j U_j + sum_k Ten_k(Q_k^H) x_k K_k x_(j != k) U_j`` with ``U_k^H K_k = 0``.

    Args:
        core: dC, ``[*b, r_1, ..., r_d]``.
        K: The block ``K_k [*b, n_k, r_k]`` of each factor.
    """

    core: Tensor
    K: tuple[Tensor, ...]


class FixedRankTucker(LowRankManifold[TuckerPoint, TuckerTangent]):
    r"""The tensors of multilinear rank ``r_1, ..., r_d``, of dimension ``prod_k r_k + sum_k r_k (n_k - r_k)``.

    Tangent vectors are in K-form: with ``Mat_k(C)^H = Q_k R_k`` the directions ``dU_k Mat_k(C)`` of the textbook are
    written ``K_k Q_k^H``: nothing is divided by the singular values of the core, and the blocks are orthogonal::

        dC = Z x_j U_j^H,    K_k = (1 - U_k U_k^H) Mat_k(Z x_(j != k) U_j^H) Q_k
        embed       bases [U_k, new directions Q of K_k]; core: C + dC in the corner, Ten_k(Q^H K_k Q_k^H) beside it
                    where only mode k is new, else 0
        truncate    the sequentially truncated higher-order singular value decomposition of the core: the error is at
                    most sqrt(d) times the least

    Where ``r_k > prod_(j != k) r_j``, which no tensor attains, Q_k has columns of zeros, and K_k is zero there.

    Args:
        shape: ``n_1, ..., n_d``, at least two.

    Source: Koch & Lubich 2010, Dynamical tensor approximation; Kressner, Steinlechner & Vandereycken 2014; K-form and
        parallel integrator: Ceruti, Kusch, Lubich & Sulz 2024.
    """

    core = 0

    @property
    def full_ranks(self) -> tuple[int, ...]:
        """The sizes of the modes."""
        return self.shape

    def dim(self, ranks: Ranks) -> int:
        """Return ``prod_k r_k + sum_k r_k (n_k - r_k)``."""
        r = self._attained(ranks)
        return math.prod(r) + sum(a * (n - a) for a, n in zip(r, self.shape, strict=True))

    def _attained(self, ranks: Ranks) -> tuple[int, ...]:
        r = self.check_ranks(ranks)
        if any(a * a > math.prod(r) for a in r):
            raise ValueError(f"{self!r}: expected ranks of at most the product of the others, but got {r}.")
        return r

    def leaf_shapes(self, ranks: Ranks) -> list[tuple[int, ...]]:
        """Return the shapes of the core and of the factors."""
        r = self.check_ranks(ranks)
        return [r, *zip(self.shape, r, strict=True)]

    def ranks(self, x: TuckerPoint) -> tuple[int, ...]:
        """Return the shape of the core."""
        return tuple(x.core.shape[-len(self.shape) :])

    def leaves(self, x: TuckerPoint | TuckerTangent) -> list[Tensor]:
        """Return the core and the factors, or their blocks."""
        return [x.core, *x[1]]

    def point(self, leaves: Sequence[Tensor]) -> TuckerPoint:
        """Return the point with this core and these factors."""
        return TuckerPoint(leaves[0], tuple(leaves[1:]))

    def tangent(self, leaves: Sequence[Tensor]) -> TuckerTangent:
        """Return the tangent vector with these blocks."""
        return TuckerTangent(leaves[0], tuple(leaves[1:]))

    def random(
        self,
        ranks: Ranks,
        *,
        batch: Sequence[int] = (),
        scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> TuckerPoint:
        """Return uniform bases and a core of norm ``scale`` whose unfoldings have nearly equal singular values."""
        r = self._attained(ranks)
        normal = torch.randn(*batch, *r, generator=generator, dtype=dtype, device=device)
        core = equalized(normal, range(len(r)), len(r))
        norm = torch.linalg.vector_norm(core, dim=tuple(range(-len(r), 0)), keepdim=True)
        bases = (random_basis((*batch, n, a), generator, dtype, device) for n, a in zip(self.shape, r, strict=True))
        return TuckerPoint(scale / norm * core, tuple(bases))

    def decompose(self, w: Inexact[Tensor, "..."], *, ranks: tuple[int, ...] | None, tol: float | None) -> TuckerPoint:
        """Return the sequentially truncated higher-order singular value decomposition, error at most ``tol |w|``.

        Each mode may lose ``tol/sqrt(d)`` of what the modes before it have left.

        Source: Vannieuwenhoven, Vandebril & Meerbergen 2012.
        """
        d, factors = len(self.shape), []
        for k in range(d):
            share = None if tol is None else tol / d**0.5
            P, s, Qh = truncated_svd(unfold(w, k, d), None if ranks is None else ranks[k], share)
            w = fold(s.unsqueeze(-1) * Qh, k, w.shape[-d:])
            factors.append(P)
        return TuckerPoint(w, tuple(factors))

    def ranks_within(self, w: Inexact[Tensor, "..."], budget: int) -> tuple[int, ...]:
        """Return the core shape of ``select_tucker_ranks``."""
        return select_tucker_ranks(mode_energies(w, len(self.shape)), budget)

    def to_dense(self, x: TuckerPoint) -> Inexact[Tensor, "..."]:
        """Return ``C x_1 U_1 ... x_d U_d``."""
        return multi_mode_product(x.core, x.factors)

    def orthonormality(self, x: TuckerPoint) -> Float[Tensor, "*b"]:
        """Return the largest entry of ``|U_k^H U_k - 1|``."""
        return torch.stack([deviation(U) for U in x.factors], -1).amax(-1)

    def core_bases(self, x: TuckerPoint) -> list[Inexact[Tensor, "..."]]:
        """Return ``Q_k`` of ``Mat_k(C)^H = Q_k R_k``, ``[*b, prod_(j != k) r_j, r_k]``, the bases that K_k refer to."""
        d = len(self.shape)
        unfolded = [unfold(x.core, k, d).mH for k in range(d)]
        return [pad(torch.linalg.qr(a).Q, a.shape[-2:]) for a in unfolded]

    def truncate(self, y: TuckerPoint, *, ranks: Ranks | None = None, tol: float | None = None) -> TuckerPoint:
        """Return the decomposition of ``C x_k R_k`` in the orthonormal parts of the factors' QR."""
        pairs = [torch.linalg.qr(U) for U in y.factors]
        core = multi_mode_product(y.core, [R for _, R in pairs])
        small = self.decompose(core, ranks=None if ranks is None else self.check_ranks(ranks), tol=tol)
        return TuckerPoint(small.core, tuple(Q @ P for (Q, _), P in zip(pairs, small.factors, strict=True)))

    def augment(self, x: TuckerPoint, t: TuckerTangent, max_ranks: Ranks | None = None) -> TuckerPoint:
        """Return the core padded with zeros in the bases ``[U_k | new directions of K_k]``."""
        room = self.full_ranks if max_ranks is None else self.check_ranks(max_ranks)
        factors = [
            torch.cat([U, new_directions(U, K, n - U.shape[-1])], -1)
            for U, K, n in zip(x.factors, t.K, room, strict=True)
        ]
        return TuckerPoint(pad(x.core, [U.shape[-1] for U in factors]), tuple(factors))

    def gauge(self, x: TuckerPoint, t: TuckerTangent) -> TuckerTangent:
        """Return dC and ``(1 - U_k U_k^H) K_k``."""
        return TuckerTangent(t.core, tuple(across(U, K) for U, K in zip(x.factors, t.K, strict=True)))

    def project(self, x: TuckerPoint, z: Inexact[Tensor, "..."]) -> TuckerTangent:
        """Return ``P_x(z)`` in K-form."""
        self.check_dense(z)
        return self.gauge(x, self._contracted(x, z, [U.mH for U in x.factors]))

    def _contracted(self, x: TuckerPoint, c: Inexact[Tensor, "..."], small: Sequence[Tensor]) -> TuckerTangent:
        """Return ``c x_j small_j``, and ``Mat_k(c x_(j != k) small_j) Q_k`` for each mode."""
        d = len(small)
        K = (unfold(multi_mode_product(c, small, skip=k), k, d) @ Q for k, Q in enumerate(self.core_bases(x)))
        return TuckerTangent(multi_mode_product(c, small), tuple(K))

    def _project_point(self, x: TuckerPoint, y: TuckerPoint) -> TuckerTangent:
        """Return ``P_x(y)`` of another tensor in factors, without its dense form."""
        core, K = self._contracted(x, y.core, [U.mH @ W for U, W in zip(x.factors, y.factors, strict=True)])
        return self.gauge(x, TuckerTangent(core, tuple(W @ small for W, small in zip(y.factors, K, strict=True))))

    def transport(self, x: TuckerPoint, t: TuckerTangent, x_new: TuckerPoint) -> TuckerTangent:
        """Return ``P_(x_new)`` of the tangent vector, a tensor of twice the ranks, by products of small factors."""
        return self._project_point(x_new, self.vector(x, t))

    def vector(self, x: TuckerPoint, t: TuckerTangent) -> TuckerPoint:
        """Return the tangent vector in the augmented bases."""
        return self._assembled(x, t, t.core)

    def embed(self, x: TuckerPoint, t: TuckerTangent) -> TuckerPoint:
        """Return ``x + t`` in the augmented bases."""
        return self._assembled(x, t, x.core + t.core)

    def _assembled(self, x: TuckerPoint, t: TuckerTangent, corner: Inexact[Tensor, "..."]) -> TuckerPoint:
        """Return the tensor with ``corner`` in the bases of x and the blocks K beside it, in augmented bases."""
        y, r = self.augment(x, t), self.ranks(x)
        leading(y.core, r).copy_(corner)
        for k, (U, K, Q) in enumerate(zip(y.factors, t.K, self.core_bases(x), strict=True)):
            side = fold(U[..., r[k] :].mH @ K @ Q.mH, k, r)
            new = side.shape[k - len(r)]
            sizes = [*r[:k], new, *r[k + 1 :]]
            leading(y.core.narrow(k - len(r), r[k], new), sizes).copy_(side)
        return y
