"""Functions of many coordinates, made of functions of one."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.manifolds.low_rank._linalg import mode_product, truncated_svd, unfold
from isometry.models.siren import SIREN


class FunctionalTensor(nn.Module, ABC):
    r"""A function on ``[-1, 1]^d`` as a tensor in factors, whose columns are functions ``phi_k`` of one coordinate.

    On a grid it costs ``sum_k n_k`` evaluations of networks and a contraction of tensors, instead of ``prod_k n_k``
    evaluations. Networks and core start with such variances that the values have variance 1.

    Functions are truncated as tensors are: with the inner product ``<f, g> = int f g dx``, computed by Gauss-Legendre
    quadrature, the values at the nodes times the roots of their weights are a tensor of the same norm. What a
    truncation makes of its factors is a linear map of the ``phi_k``, which joins the last layer of their network.

    Args:
        ranks: Shape of the values of each ``phi_k``.
        core: Shape of the core.
        width: Units of each hidden layer of a network.
        depth: Number of hidden layers of a network.
        omega: Of the sines, see ``SIREN``.

    Raises:
        ValueError: There is no coordinate, or a size is less than 1.

    Source: Vemuri et al. 2025, F-INR: functional tensor decomposition for implicit neural representations; truncation
        of functions: Bigoni, Engsig-Karup & Marzouk 2016, Spectral tensor-train decomposition.
    """

    def __init__(
        self, ranks: Sequence[tuple[int, ...]], core: Sequence[int], width: int, depth: int, omega: float
    ) -> None:
        super().__init__()
        if not ranks or min(n for sizes in (*ranks, core) for n in sizes) < 1:
            raise ValueError(
                f"{type(self).__name__}: expected a coordinate and sizes of at least 1, but got functions of the "
                f"sizes {list(ranks)} and a core {list(core)}."
            )
        self._sizes = list(ranks)
        self._network: dict[str, Any] = {"width": width, "depth": depth, "omega": omega}
        self.networks = nn.ModuleList(
            SIREN(1, math.prod(s), width, depth, omega=omega, scale=1 / math.sqrt(math.prod(s[:-1]))) for s in ranks
        )
        self.core = nn.Parameter(torch.randn(*core) / math.sqrt(math.prod(core[:-1])))

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks: of the core, and so of the functions."""
        return tuple(sizes[-1] for sizes in self._sizes)

    def _functions(self, columns: Sequence[Float[Tensor, "..."]]) -> list[Tensor]:
        """Return the values ``[*b, *r_k]`` of each ``phi_k`` at its coordinates ``[*b]``."""
        if len(columns) != len(self.networks):
            raise ValueError(
                f"{type(self).__name__}: expected {len(self.networks)} coordinates, but got {len(columns)}."
            )
        triples = zip(self.networks, columns, self._sizes, strict=True)
        return [network(x.unsqueeze(-1)).unflatten(-1, sizes) for network, x, sizes in triples]

    def forward(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b o"]:
        """Return the values at points ``x``."""
        return self._at_points(self._functions(x.unbind(-1)))

    def on_grid(self, axes: Sequence[Float[Tensor, "_"]]) -> Float[Tensor, "*n o"]:
        """Return the values ``[n_1, ..., n_d, o]`` at all points of the grid of the ``axes``."""
        return self._on_grid(self._functions(axes))

    @abstractmethod
    def _at_points(self, functions: list[Tensor]) -> Tensor:
        """Contract functions ``[*b, *r_k]`` at the same points."""

    @abstractmethod
    def _on_grid(self, functions: list[Tensor]) -> Tensor:
        """Contract functions ``[n_k, *r_k]`` at all combinations of points."""

    @abstractmethod
    def truncate(
        self, *, ranks: Sequence[int] | None = None, tol: float | None = None, nodes: int = 128
    ) -> "FunctionalTensor":
        r"""Return a function of lower ranks near this one; in one dimension of truncation the nearest.

        Args:
            ranks: The largest ranks.
            tol: Largest error relative to the norm ``(int |f|^2 dx)^(1/2)``, as far as ``ranks`` allow it.
            nodes: Of the quadrature in each coordinate; as many as a product of two ``phi_k`` needs.

        Raises:
            ValueError: The ranks are not as many as this format has, or less than 1.
        """

    def _checked(self, ranks: Sequence[int] | None, count: int) -> Sequence[int | None]:
        if ranks is not None and (len(ranks) != count or min(ranks) < 1):
            raise ValueError(
                f"{type(self).__name__}.truncate: expected {count} ranks of at least 1, but got {list(ranks)}."
            )
        return [None] * count if ranks is None else ranks

    def _at_nodes(self, nodes: int) -> list[Tensor]:
        """Return the functions ``[nodes, *r_k]`` at the nodes, times the roots of the weights, in double precision."""
        x, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(nodes))
        functions = self._functions([x.to(self.core)] * len(self.networks))
        return [weights.sqrt().to(f.device).view(-1, *[1] * (f.ndim - 1)) * f.double() for f in functions]

    def _adopt(self, other: "FunctionalTensor", maps: Sequence[Tensor], core: Tensor) -> None:
        """Take another's networks, their outputs mapped by ``maps[k]`` ``[outputs, new outputs]``, and a core."""
        self.to(other.core)
        for mine, theirs, T in zip(self.networks, other.networks, maps, strict=True):
            state = theirs.state_dict()
            for name in ("head.weight", "head.bias"):
                state[name] = (T.mT @ state[name].double()).to(state[name])
            mine.load_state_dict(state)
        self.core.copy_(core)


class FunctionalTucker(FunctionalTensor):
    """``f(x) = C x_1 phi_1(x_1) ... x_d phi_d(x_d)``, with a core ``C [r_1, ..., r_d, o]``.

    Truncation is that of the sequential HOSVD: the error is at most ``sqrt(d)`` times the least.

    Args:
        ranks: Number of functions of each coordinate.
        out_features: Components of the value.
        width: See ``FunctionalTensor``.
        depth: See ``FunctionalTensor``.
        omega: See ``FunctionalTensor``.
    """

    def __init__(
        self, ranks: Sequence[int], out_features: int = 1, *, width: int = 64, depth: int = 2, omega: float = 30.0
    ) -> None:
        super().__init__([(r,) for r in ranks], [*ranks, out_features], width, depth, omega)

    def _at_points(self, functions: list[Tensor]) -> Tensor:
        y = functions[0] @ self.core.flatten(1)
        for f in functions[1:]:
            y = (f.unsqueeze(-2) @ y.unflatten(-1, (f.shape[-1], -1))).squeeze(-2)
        return y

    def _on_grid(self, functions: list[Tensor]) -> Tensor:
        y = self.core
        for f in functions:  # the mode in front is contracted and joins behind
            y = torch.tensordot(y, f, ([0], [1]))
        return y.movedim(0, -1)

    @torch.no_grad()
    def truncate(
        self, *, ranks: Sequence[int] | None = None, tol: float | None = None, nodes: int = 128
    ) -> "FunctionalTucker":
        """Return the function whose core is truncated mode by mode, see ``FunctionalTensor``."""
        d, core, maps = len(self.networks), self.core.double(), []
        largest = self._checked(ranks, d)
        roots = [torch.linalg.qr(f).R for f in self._at_nodes(nodes)]  # phi_k = Q_k R_k, Q_k orthonormal
        share = _share(tol, d)
        for k in range(d):
            others = reduce(lambda c, j: mode_product(c, roots[j], j, d + 1), range(k + 1, d), core)
            rest = unfold(others, k, d + 1)
            P, s, Qh = truncated_svd(roots[k] @ rest, largest[k], share)
            maps.append(rest @ Qh.mT / s)  # R_k maps[k] = P: the new functions are orthonormal
            core = mode_product(core, P.mT @ roots[k], k, d + 1)
        new = FunctionalTucker([T.shape[1] for T in maps], core.shape[-1], **self._network)
        new._adopt(self, maps, core)
        return new


class FunctionalTT(FunctionalTensor):
    """``f(x) = phi_1(x_1) phi_2(x_2) ... phi_d(x_d) C``: matrices ``phi_k [r_(k-1), r_k]``, and ``C [r_d, o]``.

    Truncation is the rounding of a train: the error is at most ``sqrt(d)`` times the least.

    Args:
        ranks: ``r_1, ..., r_d``; ``r_0 = 1``.
        out_features: Components of the value.
        width: See ``FunctionalTensor``.
        depth: See ``FunctionalTensor``.
        omega: See ``FunctionalTensor``.
    """

    def __init__(
        self, ranks: Sequence[int], out_features: int = 1, *, width: int = 64, depth: int = 2, omega: float = 30.0
    ) -> None:
        super().__init__(
            list(zip((1, *ranks[:-1]), ranks, strict=True)), [*ranks[-1:], out_features], width, depth, omega
        )

    def _at_points(self, functions: list[Tensor]) -> Tensor:
        y = functions[0]
        for f in functions[1:]:
            y = y @ f
        return (y @ self.core).squeeze(-2)

    def _on_grid(self, functions: list[Tensor]) -> Tensor:
        y = functions[0].new_ones(1)
        for f in (*functions[:-1], functions[-1] @ self.core):
            y = torch.tensordot(y, f, ([-1], [1]))
        return y

    @torch.no_grad()
    def truncate(
        self, *, ranks: Sequence[int] | None = None, tol: float | None = None, nodes: int = 128
    ) -> "FunctionalTT":
        """Return the rounded train of functions, see ``FunctionalTensor``."""
        return _rounded(self, self._at_nodes(nodes), self.core.double(), self._checked(ranks, len(self.networks)), tol)


class FunctionalCP(FunctionalTensor):
    """``f(x) = sum_r C_r phi_(1,r)(x_1) ... phi_(d,r)(x_d)``, with ``C [r, o]``.

    There is no nearest function of lower CP rank, so that truncation makes a train.

    Args:
        dims: Number d of coordinates.
        rank: Number of products.
        out_features: Components of the value.
        width: See ``FunctionalTensor``.
        depth: See ``FunctionalTensor``.
        omega: See ``FunctionalTensor``.
    """

    def __init__(
        self, dims: int, rank: int, out_features: int = 1, *, width: int = 64, depth: int = 2, omega: float = 30.0
    ) -> None:
        super().__init__([(rank,)] * dims, [rank, out_features], width, depth, omega)

    def _at_points(self, functions: list[Tensor]) -> Tensor:
        return math.prod(functions[1:], start=functions[0]) @ self.core

    def _on_grid(self, functions: list[Tensor]) -> Tensor:
        y = torch.ones_like(self.core[:, 0])
        for f in functions[:-1]:
            y = y.unsqueeze(-2) * f
        return torch.tensordot(y, functions[-1].unsqueeze(-1) * self.core, ([-1], [1]))

    @torch.no_grad()
    def truncate(
        self, *, ranks: Sequence[int] | None = None, tol: float | None = None, nodes: int = 128
    ) -> "FunctionalTT":
        """Return the rounded train of diagonal matrices of functions, see ``FunctionalTensor``."""
        largest = self._checked(ranks, len(self.networks))
        first, *others = self._at_nodes(nodes)
        cores = [first.unsqueeze(-2), *(f.diag_embed() for f in others)]
        return _rounded(self, cores, self.core.double(), largest, tol)


def _rounded(
    f: FunctionalTensor, cores: list[Tensor], last: Tensor, ranks: Sequence[int | None], tol: float | None
) -> FunctionalTT:
    """Return the train of functions with values ``cores`` ``[nodes, r, r']`` at the nodes, rounded.

    At each bond, ``L = R_left R_right^T = P S Q^T`` gives maps ``X = R_right^T Q / S`` and ``Y = P^T R_left``: the
    projection ``X Y`` between the two sides is that on the leading singular functions. A map X or Y is one of outputs
    of a network; where these are the diagonal of a core, only that part of it is kept.
    """
    rights = [last]  # the factor of each right side, from the last one back
    for core in reversed(cores[1:]):
        rights.append(torch.linalg.qr((core @ rights[-1]).transpose(0, 1).flatten(1).mT).R.mT)
    left, maps = torch.ones(1, 1, dtype=last.dtype, device=last.device), list[Tensor]()
    for core, right, rank in zip(cores, reversed(rights), ranks, strict=True):
        moved = left @ core
        root = torch.linalg.qr(moved.flatten(0, 1)).R
        P, s, Qh = truncated_svd(root @ right, rank, _share(tol, len(cores)))
        X = right @ Qh.mT / s
        maps.append(_output_map(left, X, isinstance(f, FunctionalCP) and bool(maps)))
        left = P.mT @ root
    new = FunctionalTT([T.shape[-1] for T in maps], last.shape[-1], **f._network)
    new._adopt(f, [T.flatten(1) for T in maps], left @ last)
    return new


def _output_map(left: Tensor, right: Tensor, diagonal: bool) -> Float[Tensor, "outputs a b"]:
    """Return the linear map from a network's outputs to ``left phi right``."""
    if diagonal:
        return torch.einsum("ar,rb->rab", left, right)
    return torch.einsum("ar,sb->rsab", left, right).flatten(0, 1)


def _share(tol: float | None, truncations: int) -> float:
    """Return the tolerance of each truncation; never below rounding, where there are no directions to keep."""
    eps = torch.finfo(torch.float64).eps
    return eps if tol is None else max(tol / math.sqrt(truncations), eps)
