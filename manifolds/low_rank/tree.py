"""Tree tensor networks: hierarchical formats, of which matrices, Tucker tensors and trains are special cases."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from isometry.manifolds.low_rank._linalg import (
    across,
    deviation,
    equalized,
    fold,
    kept_rank,
    leading,
    mode_product,
    new_directions,
    pad,
    truncated_svd,
    unfold,
)
from isometry.manifolds.low_rank._topology import Topology, Tree, balanced_tree, nested
from isometry.manifolds.low_rank.base import LowRankManifold, Ranks
from isometry.manifolds.low_rank.core_shape import select_ranks


class TreePoint(NamedTuple):
    """The tensors at the nodes of a tree, children before parents, the root last.

    Args:
        nodes: ``B [*b, legs, r]``: a leg for each child (a mode, of its size, or a node, of its rank), then that to the
            parent, of size 1 at the root. All but the root have orthonormal columns as matrices ``legs x r``.
    """

    nodes: tuple[Tensor, ...]


class TreeTangent(NamedTuple):
    """A block for each node, of the node's shape, orthogonal to its columns at all nodes but the root.

    A block refers to orthonormal bases of its surroundings, as those of a tensor train to its right-orthonormal cores.

    Args:
        deltas: The blocks.
    """

    deltas: tuple[Tensor, ...]


class TreeTensorNetwork(LowRankManifold[TreePoint, TreeTangent]):
    r"""The tensors with a rank for each edge of a tree, of dimension ``sum_nodes (size of B) - sum_edges r^2``.

    A tree is a sequence whose members are modes (integers) and trees, each mode once::

        ((0,), (1,))               matrices U S V^T
        ((0,), (1,), (2,))         Tucker tensors
        ((((0,), 1), 2), 3)        trains
        (((0,), (1,)), ((2,), (3,)))   the balanced binary tree of four modes, the default

    The rank of an edge is that of the matricization by the modes below it. With U_k the orthonormal basis of the modes
    below node k, and ``E_k`` that of the others, made from its ancestors, the block of node k is ``(1 - B B^H) U^H Z
    E_k^H``, U the bases of its children. An embedded tangent vector brings to each edge what is new below:
    ``xi_k = B_k's block, and the parts xi_j of the children j instead of their bases``. Nothing is divided by singular
    values. The truncation is hierarchical, with an error of at most sqrt(number of matricizations) times the least.

    Args:
        shape: The sizes of the modes.
        tree: The tree; by default the balanced binary one.

    Raises:
        ShapeError: The tree has not each mode once.

    Source: Grasedyck 2010, Hierarchical singular value decomposition of tensors; Uschmajew & Vandereycken 2013, The
        geometry of algorithms using hierarchical tensors; Ceruti, Kusch, Lubich & Sulz 2024, A parallel basis update
        and Galerkin integrator for tree tensor networks.
    """

    def __init__(self, shape: Sequence[int], tree: Tree | None = None) -> None:
        super().__init__(shape)
        self._edges = Topology(self.shape, balanced_tree(len(self.shape)) if tree is None else tree)
        self.core = len(self._edges.legs) - 1

    @property
    def tree(self) -> tuple[Any, ...]:
        """The tree as nested tuples."""
        return self._edges.tree

    # --- facts ------------------------------------------------------------------------------------------------

    @property
    def full_ranks(self) -> tuple[int, ...]:
        """The number of entries below each edge."""
        return tuple(self._edges.entries[:-1])

    def check_ranks(self, ranks: Ranks) -> tuple[int, ...]:
        """Return the ranks as a tuple; a single number stands for all edges, as far as tensors of this shape attain it.

        Raises:
            ValueError: They are not as many as there are edges, or not between 1 and ``full_ranks``.
        """
        if isinstance(ranks, int) and 1 <= ranks <= max(self.full_ranks):
            size = math.prod(self.shape)
            return tuple(min(ranks, n, size // n) for n in self.full_ranks)
        return super().check_ranks(ranks)

    def dim(self, ranks: Ranks) -> int:
        """Return the number of entries of all nodes less the squares of the ranks."""
        r = self._attained(ranks)
        return self.num_parameters(r) - sum(a * a for a in r)

    def _attained(self, ranks: Ranks) -> tuple[int, ...]:
        r = self.check_ranks(ranks)
        for k, shape in enumerate(self.leaf_shapes(r)):
            edges = [*(shape[j] for j, _ in self._edges.children(k)), shape[-1]]
            if max(edges) ** 2 > math.prod(shape):
                raise ValueError(
                    f"{self!r}: expected ranks of at most the product of the other legs of a node, but got {r}."
                )
        return r

    def leaf_shapes(self, ranks: Ranks) -> list[tuple[int, ...]]:
        """Return the shapes of the nodes."""
        r = (*self.check_ranks(ranks), 1)
        return [(*self._edges.sizes(k, r), r[k]) for k in range(len(r))]

    def ranks(self, x: TreePoint) -> tuple[int, ...]:
        """Return the ranks of the edges, in the order of the nodes below them."""
        return tuple(B.shape[-1] for B in x.nodes[:-1])

    def leaves(self, x: TreePoint | TreeTangent) -> list[Tensor]:
        """Return the nodes, or their blocks."""
        return list(x[0])

    def point(self, leaves: Sequence[Tensor]) -> TreePoint:
        """Return the tree with these nodes."""
        return TreePoint(tuple(leaves))

    def tangent(self, leaves: Sequence[Tensor]) -> TreeTangent:
        """Return the tangent vector with these blocks."""
        return TreeTangent(tuple(leaves))

    def random(
        self,
        ranks: Ranks,
        *,
        batch: Sequence[int] = (),
        scale: float = 1.0,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> TreePoint:
        """Return a tree of norm ``scale`` whose matricizations have nearly equal singular values."""
        nodes = []
        for k, shape in enumerate(self.leaf_shapes(self._attained(ranks))):
            normal = torch.randn(*batch, *shape, generator=generator, dtype=dtype, device=device)
            nodes.append(equalized(normal, [*(j for j, _ in self._edges.children(k)), len(shape) - 1], len(shape)))
        nodes[-1] = scale * nodes[-1]  # of norm 1, as a node with one column
        return TreePoint(tuple(nodes))

    # --- dense tensors ----------------------------------------------------------------------------------------

    def _in_order(self, w: Inexact[Tensor, "..."]) -> Inexact[Tensor, "..."]:
        """Return ``w`` with its modes as they come in the tree."""
        d = len(self.shape)
        return w.movedim([k - d for k in self._edges.below[-1]], list(range(-d, 0)))

    def _share(self, tol: float | None) -> float | None:
        """Return what one matricization may lose so that all together lose ``tol``."""
        return None if tol is None else tol / (self.core - len(self._edges.twin)) ** 0.5

    def decompose(self, w: Inexact[Tensor, "..."], *, ranks: tuple[int, ...] | None, tol: float | None) -> TreePoint:
        """Return the hierarchical decomposition from the leaves to the root, error at most ``tol |w|``.

        Each basis is that of the leading singular vectors of what the bases before it have left of ``w``.

        Source: Grasedyck 2010, section 3.
        """
        d, share = len(self.shape), self._share(tol)
        rest, open_legs = self._in_order(w), list(self._edges.below[-1])
        nodes: list[Tensor] = []
        for k, legs in enumerate(self._edges.legs[:-1]):
            first, before = open_legs.index(legs[0]), len(open_legs)
            sizes = rest.shape[rest.ndim - before + first :][: len(legs)]
            joined = rest.flatten(first - before, first - before + len(legs) - 1)
            open_legs[first : first + len(legs)] = [d + k]
            rank, tail = None if ranks is None else ranks[k], share
            if k in self._edges.twin:  # what it may lose is lost already
                cut = nodes[self._edges.twin[k]].shape[-1]
                rank, tail = cut if rank is None else min(rank, cut), None
            P, s, Qh = truncated_svd(unfold(joined, first, len(open_legs)), rank, tail)
            nodes.append(P.unflatten(-2, sizes))
            rest = fold(s.unsqueeze(-1) * Qh, first, joined.shape[-len(open_legs) :])
        return TreePoint((*nodes, rest.unsqueeze(-1)))

    def ranks_within(self, w: Inexact[Tensor, "..."], budget: int) -> tuple[int, ...]:
        """Return the ranks of ``select_ranks``."""
        d, energies = len(self.shape), []
        for modes in self._edges.below[:-1]:
            front = w.movedim([k - d for k in modes], list(range(-d, len(modes) - d)))
            matrix = front.flatten(len(modes) - d).flatten(-1 - len(modes), -2)
            s = torch.linalg.svdvals(matrix).square()
            energies.append(s.reshape(-1, s.shape[-1]).sum(0))
        return select_ranks(energies, self.num_parameters, budget)

    def bases(self, x: TreePoint) -> list[Inexact[Tensor, "*b entries r"]]:
        """Return the bases U of the modes below each node; that of the root is the tensor, its modes in tree order."""
        bases: list[Tensor] = []
        for k, B in enumerate(x.nodes):
            bases.append(self._flat(k, self._applied(k, B, bases)))
        return bases

    def to_dense(self, x: TreePoint) -> Inexact[Tensor, "..."]:
        """Return the contraction of all nodes."""
        d, order = len(self.shape), self._edges.below[-1]
        w = self.bases(x)[-1].squeeze(-1).unflatten(-1, [self.shape[k] for k in order])
        return w.movedim(list(range(-d, 0)), [k - d for k in order])

    def orthonormality(self, x: TreePoint) -> Float[Tensor, "*b"]:
        """Return the largest entry of ``|B^H B - 1|`` for all nodes but the root."""
        return torch.stack([deviation(self._flat(k, B)) for k, B in enumerate(x.nodes[:-1])], -1).amax(-1)

    # --- contractions at nodes --------------------------------------------------------------------------------

    def _flat(self, k: int, B: Tensor) -> Tensor:
        """Return ``B`` of node k as a matrix, its legs by its parent's."""
        return B.flatten(-1 - len(self._edges.legs[k]), -2)

    def _shaped(self, k: int, U: Tensor, ranks: Sequence[int]) -> Tensor:
        """Return the inverse of ``_flat`` for children of these ranks."""
        return U.unflatten(-2, self._edges.sizes(k, ranks))

    def _applied(self, k: int, B: Tensor, matrices: Sequence[Tensor], skip: int | None = None) -> Tensor:
        """Return ``B`` of node k with each child's matrix applied to its leg, without leg ``skip``."""
        for j, child in self._edges.children(k):
            if j != skip:
                B = mode_product(B, matrices[child], j, len(self._edges.legs[k]) + 1)
        return B

    def surroundings(self, x: TreePoint) -> dict[int, Inexact[Tensor, "..."]]:
        """Return, for each node but the root, its parent's tensor in the orthonormal bases that its block refers to.

        ``X = U_k S_k E_k`` with ``E_k`` the contraction of this tensor with the bases of the other children and, at its
        last leg, with the parent's E; leg k is the row of E_k. No weight S_k is inverted.
        """
        result: dict[int, Tensor] = {}
        weights = {self.core: torch.ones_like(self._flat(self.core, x.nodes[-1])[..., :1, :])}
        for p in reversed(range(len(x.nodes))):
            d = len(self._edges.legs[p]) + 1
            B = mode_product(x.nodes[p], weights[p].mT, d - 1, d)
            for j, k in self._edges.children(p):
                r = B.shape[j - d]
                Q, R = torch.linalg.qr(unfold(B, j, d).mH)
                result[k] = fold(pad(Q.mH, (r, Q.shape[-2])), j, B.shape[-d:])
                weights[k] = pad(R.mH, (r, r))
        return result

    def _contracted(
        self, x: TreePoint, top: Tensor, small: Sequence[Tensor], descend: Callable[[int, Tensor], Tensor]
    ) -> TreeTangent:
        """Return the projection at ``x`` of a tensor given from the root on: ``top``, whose legs are not yet in bases.

        Args:
            x: The point.
            top: The tensor with the root's legs, those to nodes in any bases.
            small: For each node, the matrix from these bases to those of x.
            descend: Takes a node k and the contraction with everything around it, a matrix from the row of ``E_k`` to
                the basis of its leg, and returns it with the legs of node k.
        """
        around, fields = self.surroundings(x), {self.core: top}
        for p in reversed(range(len(x.nodes))):
            d = len(self._edges.legs[p]) + 1
            for j, k in self._edges.children(p):
                rest = unfold(self._applied(p, fields[p], small, skip=j), j, d)
                fields[k] = descend(k, rest @ unfold(around[k], j, d).mH)
        deltas = (self._applied(k, fields[k], small) for k in range(len(x.nodes)))
        return self.gauge(x, TreeTangent(tuple(deltas)))

    # --- tangent vectors and the three verbs ------------------------------------------------------------------

    def gauge(self, x: TreePoint, t: TreeTangent) -> TreeTangent:
        """Return ``(1 - B B^H) D`` for all nodes but the root."""
        pairs = enumerate(zip(x.nodes[:-1], t.deltas[:-1], strict=True))
        deltas = (across(self._flat(k, B), self._flat(k, D)).reshape(D.shape) for k, (B, D) in pairs)
        return TreeTangent((*deltas, t.deltas[-1]))

    def project(self, x: TreePoint, z: Inexact[Tensor, "..."]) -> TreeTangent:
        """Return the gauge of ``U^H z E_k^H`` of each node, U the bases of its children."""
        self.check_dense(z)
        top = self._in_order(z).flatten(-len(self.shape)).unsqueeze(-1)
        small = [U.mH for U in self.bases(x)]
        return self._contracted(
            x,
            self._shaped(self.core, top, self._edges.entries),
            small,
            lambda k, a: self._shaped(k, a, self._edges.entries),
        )

    def transport(self, x: TreePoint, t: TreeTangent, x_new: TreePoint) -> TreeTangent:
        """Return ``P_(x_new)`` of the tangent vector, a tree of twice the ranks, by products of small matrices."""
        y, overlaps = self.vector(x, t).nodes, list[Tensor]()
        for k, (B, Y) in enumerate(zip(x_new.nodes, y, strict=True)):
            overlaps.append(self._flat(k, B).mH @ self._flat(k, self._applied(k, Y, overlaps)))

        def descend(k: int, a: Tensor) -> Tensor:
            return mode_product(y[k], a.mT, len(self._edges.legs[k]), len(self._edges.legs[k]) + 1)

        return self._contracted(x_new, y[-1], overlaps, descend)

    def vector(self, x: TreePoint, t: TreeTangent) -> TreePoint:
        """Return the tangent vector in the augmented bases."""
        nodes, root = self._augmented(x, t, self.full_ranks)
        return TreePoint((*nodes, root))

    def embed(self, x: TreePoint, t: TreeTangent) -> TreePoint:
        """Return ``x + t`` in the augmented bases."""
        *nodes, root = self.vector(x, t).nodes
        return TreePoint((*nodes, root + pad(x.nodes[-1], root.shape[-len(self._edges.legs[-1]) - 1 :])))

    def augment(self, x: TreePoint, t: TreeTangent, max_ranks: Ranks | None = None) -> TreePoint:
        """Return the root padded with zeros, above bases with the new directions of ``t``."""
        nodes, root = self._augmented(x, t, self.full_ranks if max_ranks is None else self.check_ranks(max_ranks))
        return TreePoint((*nodes, pad(x.nodes[-1], root.shape[-len(self._edges.legs[-1]) - 1 :])))

    def _augmented(self, x: TreePoint, t: TreeTangent, room: tuple[int, ...]) -> tuple[list[Tensor], Tensor]:
        """Return nodes whose leading parts are those of ``x``, and the root of ``t`` in their bases.

        What is new at a node is its block, and for each child what is new there (``side``) instead of its basis.
        """
        around = self.surroundings(x)
        nodes: list[Tensor] = []
        new: list[Tensor] = []  # what is new at each node, in the new columns of its basis
        for k, (B, D) in enumerate(zip(x.nodes, t.deltas, strict=True)):
            d = B.ndim - (x.nodes[-1].ndim - len(self._edges.legs[-1]) - 1)
            sizes = [*self._edges.sizes(k, [N.shape[-1] for N in nodes]), B.shape[-1]]
            part = pad(D, sizes)
            for j, child in self._edges.children(k):
                side = mode_product(around[child], new[child], j, d)
                old = B.shape[j - d]
                leading(part.narrow(j - d, old, sizes[j] - old), side.shape[-d:]).copy_(side)
            if k == self.core:
                break
            U, K = self._flat(k, pad(B, sizes)), self._flat(k, part)
            Q = new_directions(U, K, room[k] - U.shape[-1])
            nodes.append(torch.cat([U, Q], -1).unflatten(-2, sizes[:-1]))
            new.append(Q.mH @ K)
        return nodes, part

    def truncate(self, y: TreePoint, *, ranks: Ranks | None = None, tol: float | None = None) -> TreePoint:
        """Return the hierarchical truncation: each matricization projected on its leading left singular vectors.

        Source: Grasedyck 2010, section 3.
        """
        largest = None if ranks is None else self.check_ranks(ranks)
        share = self._share(tol)
        x = self._orthonormalized(y.nodes)
        kept: dict[int, Tensor] = {}
        weights = {self.core: torch.ones_like(self._flat(self.core, x[-1])[..., :1, :])}
        for p in reversed(range(len(x))):
            d = len(self._edges.legs[p]) + 1
            B = mode_product(x[p], weights[p].mT, d - 1, d)
            for j, k in self._edges.children(p):
                P, s, _ = torch.linalg.svd(unfold(B, j, d), full_matrices=False)
                kept[k] = P[..., : kept_rank(s, None if largest is None else largest[k], share)]
                weights[k] = P * s.unsqueeze(-2)
        small = [kept[k].mH for k in range(self.core)]
        nodes = [self._applied(k, B, small) for k, B in enumerate(x)]
        for k, P in kept.items():
            d = len(self._edges.legs[k]) + 1
            nodes[k] = mode_product(nodes[k], P.mT, d - 1, d)
        return TreePoint(tuple(self._orthonormalized(nodes)))

    def _orthonormalized(self, nodes: Sequence[Tensor]) -> list[Tensor]:
        """Return the same tensor with orthonormal nodes, by QR decompositions from the leaves to the root."""
        result: list[Tensor] = []
        factors: list[Tensor] = []
        for k, node in enumerate(nodes[:-1]):
            B = self._applied(k, node, factors)
            Q, R = torch.linalg.qr(self._flat(k, B))
            result.append(Q.unflatten(-2, B.shape[-1 - len(self._edges.legs[k]) : -1]))
            factors.append(R)
        return [*result, self._applied(self.core, nodes[-1], factors)]

    # --- identity ---------------------------------------------------------------------------------------------

    @property
    def _arguments(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "tree": nested(list, self.tree)}

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, TreeTensorNetwork) and self.tree == other.tree

    def __hash__(self) -> int:
        return hash((type(self), self.shape, self.tree))

    def __repr__(self) -> str:
        return f"TreeTensorNetwork({self.shape}, {self.tree})"
