"""Tensor trains of fixed rank."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from isometry.manifolds.low_rank._linalg import across, deviation, equalized, new_directions, pad, truncated_svd
from isometry.manifolds.low_rank.base import LowRankManifold, Ranks
from isometry.manifolds.low_rank.core_shape import select_ranks


class TTPoint(NamedTuple):
    """``W[i_1, ..., i_d] = G_1[i_1] G_2[i_2] ... G_d[i_d]``.

    Args:
        cores: ``G_k [*b, r_(k-1), n_k, r_k]`` with ``r_0 = r_d = 1``; all but the last are left-orthonormal:
            ``sum_i G_k[i]^H G_k[i] = 1``.
    """

    cores: tuple[Tensor, ...]


class TTTangent(NamedTuple):
    """``xi = sum_k G_1 ... G_(k-1) D_k R_(k+1) ... R_d``, R the right-orthonormal cores of the same tensor.

    Args:
        deltas: The block ``D_k [*b, r_(k-1), n_k, r_k]`` of each core, ``sum_i G_k[i]^H D_k[i] = 0`` for all but the
            last.
    """

    deltas: tuple[Tensor, ...]


class FixedRankTT(LowRankManifold[TTPoint, TTTangent]):
    r"""The tensor trains of ranks ``r_1, ..., r_(d-1)``, of dimension ``sum_k r_(k-1) n_k r_k - sum_k r_k^2``.

    Rank k is that of the matricization by the first k modes. With G left- and R right-orthonormal, and ``G_<k`` and
    ``R_>k`` the orthonormal bases that they make::

        D_k = (1 - G_k G_k^H) (G_<k^H Z R_>k^H),   D_d = G_<d^H Z
        embed       [G_1 D_1] [G_k D_k; 0 R_k] ... [G_d + D_d; R_d], its bases then orthonormal
        truncate    the rounding of a train: the error is at most sqrt(d - 1) times the least

    Nothing is divided by singular values: those of a bond stay in the core at the end. A single number as ranks stands
    for all bonds, less where no tensor has as much. Where given ranks are attained by no tensor, R_k has rows of zeros.

    Args:
        shape: ``n_1, ..., n_d``, at least two. For a matrix in the format of trains (a "TT-matrix"), the products of
            row and column modes.

    Source: Oseledets 2011, Tensor-train decomposition; Holtz, Rohwedder & Schneider 2012, On manifolds of tensors of
        fixed TT-rank; Steinlechner 2016, Riemannian optimization for high-dimensional tensor completion.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(shape)
        self.core = len(self.shape) - 1

    @property
    def full_ranks(self) -> tuple[int, ...]:
        """The products of the first k sizes: a train has at most the rank of the other side, bases may fill theirs."""
        return tuple(itertools.accumulate(self.shape[:-1], lambda a, b: a * b))

    def check_ranks(self, ranks: Ranks) -> tuple[int, ...]:
        """Return the ranks as a tuple; a single number stands for all bonds, as far as tensors of this shape attain it.

        Raises:
            ValueError: They are not as many as there are bonds, or not between 1 and ``full_ranks``.
        """
        if isinstance(ranks, int) and 1 <= ranks <= max(self.full_ranks):
            size = math.prod(self.shape)
            return tuple(min(ranks, n, size // n) for n in self.full_ranks)
        return super().check_ranks(ranks)

    def dim(self, ranks: Ranks) -> int:
        """Return ``sum_k r_(k-1) n_k r_k - sum_k r_k^2``."""
        r = self._attained(ranks)
        return self.num_parameters(r) - sum(a * a for a in r)

    def _attained(self, ranks: Ranks) -> tuple[int, ...]:
        r = self.check_ranks(ranks)
        if any(b > a * n or a > n * b for a, n, b in self.leaf_shapes(r)):
            raise ValueError(
                f"{self!r}: expected neighbouring ranks that differ by at most the factor of the mode between, "
                f"but got {r}."
            )
        return r

    def leaf_shapes(self, ranks: Ranks) -> list[tuple[int, ...]]:
        """Return the shapes of the cores."""
        r = (1, *self.check_ranks(ranks), 1)
        return list(zip(r[:-1], self.shape, r[1:], strict=True))

    def ranks(self, x: TTPoint) -> tuple[int, ...]:
        """Return the sizes of the bonds."""
        return tuple(core.shape[-1] for core in x.cores[:-1])

    def leaves(self, x: TTPoint | TTTangent) -> list[Tensor]:
        """Return the cores, or their blocks."""
        return list(x[0])

    def point(self, leaves: Sequence[Tensor]) -> TTPoint:
        """Return the train with these cores."""
        return TTPoint(tuple(leaves))

    def tangent(self, leaves: Sequence[Tensor]) -> TTTangent:
        """Return the tangent vector with these blocks."""
        return TTTangent(tuple(leaves))

    def random(
        self,
        ranks: Ranks,
        *,
        batch: Sequence[int] = (),
        scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> TTPoint:
        """Return a train of norm ``scale`` whose matricizations have nearly equal singular values."""
        cores = []
        for shape in self.leaf_shapes(self._attained(ranks)):
            normal = torch.randn(*batch, *shape, generator=generator, dtype=dtype, device=device)
            cores.append(equalized(normal, (0, 2), 3))
        cores[-1] = scale * cores[-1]  # of norm 1, as a core with one column
        return TTPoint(tuple(cores))

    # --- dense tensors ----------------------------------------------------------------------------------------

    def decompose(self, w: Inexact[Tensor, "..."], *, ranks: tuple[int, ...] | None, tol: float | None) -> TTPoint:
        """Return the TT-SVD: one truncated singular value decomposition per bond, error at most ``tol |w|``."""
        d = len(self.shape)
        share = None if tol is None else tol / (d - 1) ** 0.5
        cores, rest = [], w.flatten(-d).unsqueeze(-2)
        for k, n in enumerate(self.shape[:-1]):
            rest = rest.unflatten(-1, (n, -1))
            P, s, Qh = truncated_svd(rest.flatten(-3, -2), None if ranks is None else ranks[k], share)
            cores.append(P.unflatten(-2, (-1, n)))
            rest = s.unsqueeze(-1) * Qh
        return TTPoint((*cores, rest.unsqueeze(-1)))

    def ranks_within(self, w: Inexact[Tensor, "..."], budget: int) -> tuple[int, ...]:
        """Return the ranks of ``select_ranks``."""
        flat = w.flatten(-len(self.shape))
        spectra = [torch.linalg.svdvals(flat.unflatten(-1, (n, -1))).square() for n in self.full_ranks]
        energies = [s.reshape(-1, s.shape[-1]).sum(0) for s in spectra]
        return select_ranks(energies, self.num_parameters, budget)

    def to_dense(self, x: TTPoint) -> Inexact[Tensor, "..."]:
        """Return the product of the cores."""
        w = x.cores[0].squeeze(-3)
        for core in x.cores[1:]:
            w = (w @ core.flatten(-2)).unflatten(-1, core.shape[-2:]).flatten(-3, -2)
        return w.squeeze(-1).unflatten(-1, self.shape)

    def orthonormality(self, x: TTPoint) -> Float[Tensor, "*b"]:
        """Return the largest entry of ``|sum_i G_k[i]^H G_k[i] - 1|`` for all cores but the last."""
        return torch.stack([deviation(core.flatten(-3, -2)) for core in x.cores[:-1]], -1).amax(-1)

    def right_cores(self, x: TTPoint) -> list[Inexact[Tensor, "..."]]:
        """Return the right-orthonormal cores ``R_2, ..., R_d``, the bases that the blocks refer to.

        Their rows span those of the tensor: ``G_(k+1) ... G_d = S_k R_(k+1) ... R_d`` with square S_k.
        """
        return _right_orthonormal(x.cores)[1]

    # --- tangent vectors and the three verbs ------------------------------------------------------------------

    def truncate(self, y: TTPoint, *, ranks: Ranks | None = None, tol: float | None = None) -> TTPoint:
        """Return the rounded train: right-orthonormal cores, then one truncated decomposition per bond from the left.

        Source: Oseledets 2011, algorithm 2.
        """
        largest = None if ranks is None else self.check_ranks(ranks)
        share = None if tol is None else tol / (len(self.shape) - 1) ** 0.5
        core, others = _right_orthonormal(y.cores)
        cores = []
        for k, following in enumerate(others):
            P, s, Qh = truncated_svd(core.flatten(-3, -2), None if largest is None else largest[k], share)
            cores.append(P.unflatten(-2, core.shape[-3:-1]))
            core = ((s.unsqueeze(-1) * Qh) @ following.flatten(-2)).unflatten(-1, following.shape[-2:])
        return TTPoint((*cores, core))

    def augment(self, x: TTPoint, t: TTTangent, max_ranks: Ranks | None = None) -> TTPoint:
        """Return the last core padded with zeros, after bases with the new directions of ``t`` bond by bond."""
        cores, _ = self._augmented(x, t, self.full_ranks if max_ranks is None else self.check_ranks(max_ranks))
        return TTPoint((*cores, pad(x.cores[-1], (cores[-1].shape[-1], *x.cores[-1].shape[-2:]))))

    def gauge(self, x: TTPoint, t: TTTangent) -> TTTangent:
        """Return ``(1 - G_k G_k^H) D_k``, and the last block as it is."""
        pairs = zip(x.cores[:-1], t.deltas[:-1], strict=True)
        deltas = [across(G.flatten(-3, -2), D.flatten(-3, -2)).unflatten(-2, G.shape[-3:-1]) for G, D in pairs]
        return TTTangent((*deltas, t.deltas[-1]))

    def project(self, x: TTPoint, z: Inexact[Tensor, "..."]) -> TTTangent:
        """Return the gauge of ``G_<k^H Z R_>k^H``."""
        self.check_dense(z)
        deltas, rest = [], z.flatten(-len(self.shape)).unsqueeze(-2)
        for G, basis in zip(x.cores, _right_bases(self.right_cores(x)), strict=True):
            rest = rest.unflatten(-1, (G.shape[-2], -1)).flatten(-3, -2)  # rows: the bond and the mode
            deltas.append((rest @ basis.mH).unflatten(-2, G.shape[-3:-1]))
            rest = G.flatten(-3, -2).mH @ rest
        return self.gauge(x, TTTangent(tuple(deltas)))

    def transport(self, x: TTPoint, t: TTTangent, x_new: TTPoint) -> TTTangent:
        """Return ``P_(x_new)`` of the tangent vector, a train of twice the ranks, by products of small cores."""
        return self._project_point(x_new, self.vector(x, t))

    def _project_point(self, x: TTPoint, y: TTPoint) -> TTTangent:
        """Return ``P_x(y)``: with ``G_<k^H Y_<k`` and ``Y_>k R_>k^H``, in place of the bases, around each core of y."""
        rights = [torch.ones_like(y.cores[-1][..., :1, 0, :])]
        for Y, R in zip(reversed(y.cores[1:]), reversed(self.right_cores(x)), strict=True):
            rights.append((Y @ rights[-1].unsqueeze(-3)).flatten(-2) @ R.flatten(-2).mH)
        deltas, left = [], torch.ones_like(y.cores[0][..., 0, :1])
        for G, Y, right in zip(x.cores, y.cores, reversed(rights), strict=True):
            moved = (left @ Y.flatten(-2)).unflatten(-1, Y.shape[-2:])
            deltas.append(moved @ right.unsqueeze(-3))
            left = G.flatten(-3, -2).mH @ moved.flatten(-3, -2)
        return self.gauge(x, TTTangent(tuple(deltas)))

    def vector(self, x: TTPoint, t: TTTangent) -> TTPoint:
        """Return the tangent vector in the augmented bases."""
        cores, last = self._augmented(x, t, self.full_ranks)
        return TTPoint((*cores, last))

    def embed(self, x: TTPoint, t: TTTangent) -> TTPoint:
        """Return ``x + t`` in the augmented bases."""
        *cores, last = self.vector(x, t).cores
        return TTPoint((*cores, last + pad(x.cores[-1], last.shape[-3:])))

    def _augmented(self, x: TTPoint, t: TTTangent, room: tuple[int, ...]) -> tuple[list[Tensor], Tensor]:
        """Return left-orthonormal cores, the leading part of each that of x, and the last core of ``t`` in their basis.

        What is new at a bond, beside ``G_<=k``, are the columns of ``xi_k = xi_(k-1) R_k + G_<k D_k``.
        """
        cores, part = [], t.deltas[0]
        for G, R, D, size in zip(x.cores[:-1], self.right_cores(x), t.deltas[1:], room, strict=True):
            U, K = pad(G, part.shape[-3:]).flatten(-3, -2), part.flatten(-3, -2)
            Q = new_directions(U, K, size - U.shape[-1])
            cores.append(torch.cat([U, Q], -1).unflatten(-2, part.shape[-3:-1]))
            part = torch.cat([D, (Q.mH @ K @ R.flatten(-2)).unflatten(-1, R.shape[-2:])], -3)
        return cores, part


def _right_orthonormal(cores: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the first core and right-orthonormal others of the same train; where a row is too many, it is zero."""
    rights: list[Tensor] = []
    core = cores[-1]
    for before in reversed(cores[:-1]):
        r = core.shape[-3]
        Q, R = torch.linalg.qr(core.flatten(-2).mH)
        rights.append(pad(Q.mH, (r, Q.shape[-2])).unflatten(-1, core.shape[-2:]))
        core = before @ pad(R.mH, (r, r)).unsqueeze(-3)
    return core, rights[::-1]


def _right_bases(rights: Sequence[Tensor]) -> list[Inexact[Tensor, "*b r rest"]]:
    """Return ``R_(k+1) ... R_d`` for k = 1, ..., d, the last of them the number 1."""
    bases = [torch.ones_like(rights[-1][..., :1, 0, :])]
    for R in reversed(rights):
        bases.append((R @ bases[-1].unsqueeze(-3)).flatten(-2))
    return bases[::-1]
