"""Rooted trees, numbered breadth first."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Tree:
    """A rooted tree with positive edge lengths, whose nodes have places in breadth-first order: the root is at 0.

    All tensors below are by place. The children of a node are at consecutive places, and so is each level.

    Args:
        edges: Pairs of nodes, int64 [E, 2], in any direction; an edge may be given in both.
        num_nodes: Nodes are numbered from 0 to ``num_nodes - 1``.
        weights: Positive lengths of the edges; 1 where none are given.
        root: The node at the root.

    Attributes:
        order: The node at each place, [n].
        place: The place of each node, [n].
        parent: The place of the parent, [n]; the root's is its own.
        length: Of the edge to the parent, float64 [n]; 0 for the root.
        levels: The places of each level, from the root on.

    Raises:
        ValueError: If the edges do not make a tree, or a weight is not positive and finite.
    """

    def __init__(
        self,
        edges: Int[Tensor, "e 2"],
        num_nodes: int,
        weights: Float[Tensor, " e"] | None = None,
        root: int = 0,
    ) -> None:
        pairs, lengths = _undirected(edges, num_nodes, weights)
        if len(pairs) > num_nodes - 1:
            raise ValueError(
                f"Tree: expected the {num_nodes - 1} edges of a tree with {num_nodes} nodes, but got {len(pairs)}, "
                "which close cycles; spanning_tree takes a tree out of a graph."
            )
        self._search(pairs, lengths, num_nodes, root)

    def _search(self, pairs: Tensor, lengths: Tensor, num_nodes: int, root: int) -> None:
        """Number the nodes breadth first; of several parents a node takes the first."""
        if not 0 <= root < num_nodes:
            raise ValueError(f"Tree: expected a root from 0 to {num_nodes - 1}, but got {root}.")
        source, order = pairs.flatten().sort(stable=True)
        target, length = pairs.flip(1).flatten()[order], lengths.repeat_interleave(2)[order]
        offsets = torch.searchsorted(source, torch.arange(num_nodes + 1))
        self.place = torch.full((num_nodes,), -1).index_fill(0, torch.tensor(root), 0)
        nodes, parents, lengths_found = (
            [torch.tensor([root])],
            [torch.zeros(1, dtype=torch.int64)],
            [lengths.new_zeros(1)],
        )
        self.levels = [range(1)]
        while len(self.levels[-1]):
            first, count = offsets[nodes[-1]], offsets.diff()[nodes[-1]]
            position = torch.arange(len(count)).repeat_interleave(count)
            edge = torch.arange(len(position)) + (first - count.cumsum(0) + count)[position]
            fresh = self.place[target[edge]] < 0
            edge, position = edge[fresh], position[fresh]
            found, inverse = target[edge].unique(return_inverse=True)
            earliest = torch.full_like(found, len(edge)).scatter_reduce(0, inverse, torch.arange(len(edge)), "amin")
            chosen = earliest.sort().values
            edge, start = edge[chosen], self.levels[-1].stop
            self.place[target[edge]] = torch.arange(start, start + len(edge))
            nodes.append(target[edge])
            parents.append(self.levels[-1].start + position[chosen])
            lengths_found.append(length[edge])
            self.levels.append(range(start, start + len(edge)))
        self.levels.pop()
        self.order, self.parent, self.length = torch.cat(nodes), torch.cat(parents), torch.cat(lengths_found)
        if (lost := (self.place < 0).nonzero()).numel():
            raise ValueError(
                f"Tree: expected a connected graph, but no path leads from node {root} to node {int(lost[0])} "
                f"({len(lost)} such nodes); embed its components one by one."
            )

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return len(self.order)

    @property
    def num_children(self) -> Int[Tensor, " n"]:
        """The number of children of each node."""
        return self.parent[1:].bincount(minlength=self.num_nodes)

    @property
    def max_degree(self) -> int:
        """The largest number of neighbours."""
        children = self.num_children
        return int(torch.cat([children[:1], children[1:] + 1]).max())

    @property
    def height(self) -> float:
        """The largest distance of a node from the root."""
        depth = torch.zeros_like(self.length)
        for level in self.levels[1:]:
            places = slice(level.start, level.stop)
            depth[places] = depth[self.parent[places]] + self.length[places]
        return float(depth.max())


def spanning_tree(
    edges: Int[Tensor, "e 2"], num_nodes: int, weights: Float[Tensor, " e"] | None = None, root: int = 0
) -> Tree:
    """Return the tree of a breadth-first search: every node has its least number of edges to the root.

    Args:
        edges: Of a connected graph, int64 [E, 2], in any direction.
        num_nodes: Nodes are numbered from 0 to ``num_nodes - 1``.
        weights: Positive lengths of the edges, which the tree keeps; 1 where none are given.
        root: Where the search starts.

    Raises:
        ValueError: If the graph is not connected, or a weight is not positive and finite.
    """
    tree = Tree.__new__(Tree)
    tree._search(*_undirected(edges, num_nodes, weights), num_nodes, root)
    return tree


def _undirected(edges: Tensor, num_nodes: int, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return each edge once, smaller node first, with its length in float64."""
    if edges.dtype != torch.int64:
        raise ValueError(f"Tree: expected int64 edges [E, 2], but got {edges.dtype}.")
    if len(edges) and not 0 <= int(edges.min()) <= int(edges.max()) < num_nodes:
        raise ValueError(
            f"Tree: expected edges between nodes 0 to {num_nodes - 1}, but got {edges.min()} to {edges.max()}."
        )
    if (loops := edges[edges[:, 0] == edges[:, 1], 0]).numel():
        raise ValueError(f"Tree: expected edges between distinct nodes, but node {loops[0]} is joined to itself.")
    lengths = torch.ones(len(edges), dtype=torch.float64) if weights is None else weights.double()
    if (bad := ~((lengths > 0) & lengths.isfinite())).any():
        edge = int(bad.nonzero()[0])
        raise ValueError(
            f"Tree: expected positive, finite weights, but edge {edges[edge].tolist()} has {float(lengths[edge])}."
        )
    key, inverse = (edges.amin(1) * num_nodes + edges.amax(1)).unique(return_inverse=True)
    unique = lengths.new_zeros(len(key)).index_put((inverse,), lengths)
    if (other := unique[inverse] != lengths).any():
        raise ValueError(f"Tree: edge {edges[other][0].tolist()} is given twice, with different weights.")
    return torch.stack([key // num_nodes, key % num_nodes], 1), unique
