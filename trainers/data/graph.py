"""A directed graph as a set of index pairs."""

from collections.abc import Iterable
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Graph:
    """A set of edges ``(u, v)`` between numbered nodes; in a hierarchy, "u is a v".

    Args:
        edges: Pairs of distinct nodes, int64 [E, 2]. They are kept sorted and without repetition.
        num_nodes: Nodes are numbered from 0 to ``num_nodes - 1``.
        names: A name for each node; the numbers where none are given.

    Raises:
        ValueError: If an edge joins a node to itself or to none, or the names do not fit the nodes.
    """

    def __init__(self, edges: Int[Tensor, "e 2"], num_nodes: int, names: Iterable[str] = ()) -> None:
        if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype != torch.int64:
            raise ValueError(f"Graph: expected int64 edges [E, 2], but got {edges.dtype} {list(edges.shape)}.")
        if len(edges) and not 0 <= int(edges.min()) <= int(edges.max()) < num_nodes:
            raise ValueError(
                f"Graph: expected edges between nodes 0 to {num_nodes - 1}, but got {edges.min()} to {edges.max()}."
            )
        if (loops := edges[edges[:, 0] == edges[:, 1], 0]).numel():
            raise ValueError(f"Graph: expected edges between distinct nodes, but node {loops[0]} is joined to itself.")
        self.num_nodes = num_nodes
        self.names = tuple(names) or tuple(map(str, range(num_nodes)))
        if len(self.names) != num_nodes:
            raise ValueError(f"Graph: expected {num_nodes} names, but got {len(self.names)}.")
        keys = edges[:, 0] * num_nodes + edges[:, 1]
        self.edges = edges if bool((keys.diff() > 0).all()) else self._pairs(keys.unique())

    def __repr__(self) -> str:
        return f"Graph({self.num_nodes} nodes, {len(self.edges)} edges)"

    @classmethod
    def from_names(cls, pairs: Iterable[tuple[str, str]]) -> "Graph":
        """Return the graph of named edges; nodes are numbered in the order of their names."""
        named = list(pairs)
        names = sorted({name for pair in named for name in pair})
        number = {name: i for i, name in enumerate(names)}
        edges = torch.tensor([(number[u], number[v]) for u, v in named], dtype=torch.int64).view(-1, 2)
        return cls(edges, len(names), tuple(names))

    @cached_property
    def keys(self) -> Int[Tensor, " e"]:
        """The edges as numbers ``u * num_nodes + v``, increasing."""
        return self.edges[:, 0] * self.num_nodes + self.edges[:, 1]

    @cached_property
    def offsets(self) -> Int[Tensor, " n+1"]:
        """The edges that leave node u are ``edges[offsets[u]:offsets[u + 1]]``."""
        degrees = self.edges[:, 0].bincount(minlength=self.num_nodes)
        return torch.cat([degrees.new_zeros(1), degrees.cumsum(0)])

    def successors(self, nodes: Int[Tensor, " b"]) -> tuple[Int[Tensor, " s"], Int[Tensor, " s"]]:
        """Return positions in ``nodes`` and successors: all pairs ``(i, v)`` for which ``(nodes[i], v)`` is an edge."""
        start, count = self.offsets[nodes], self.offsets.diff()[nodes]
        position = torch.arange(len(nodes)).repeat_interleave(count)
        first = (count.cumsum(0) - count - start).repeat_interleave(count)
        return position, self.edges[torch.arange(len(position)) - first, 1]

    def union(self, *others: "Graph") -> "Graph":
        """Return the graph, on the same nodes, of the edges of all."""
        return Graph(torch.cat([self.edges, *(other.edges for other in others)]), self.num_nodes, self.names)

    def compose(self, other: "Graph") -> "Graph":
        """Return the edges ``(u, w)`` for which ``(u, v)`` is here and ``(v, w)`` in ``other``, on the same nodes."""
        return Graph(self._pairs(self._steps(self.keys, other)), self.num_nodes, self.names)

    def symmetric(self) -> "Graph":
        """Return the graph with every edge in both directions."""
        return Graph(torch.cat([self.edges, self.edges.flip(1)]), self.num_nodes, self.names)

    def transitive_closure(self) -> "Graph":
        """Return the edges ``(u, w)`` for which a path leads from u to w.

        Raises:
            ValueError: If the graph has a cycle.
        """
        walks = [self.keys]
        while len(walks[-1]):
            step = self._steps(walks[-1], self)
            if (cycle := step[step % (self.num_nodes + 1) == 0]).numel():
                name = self.names[int(cycle[0]) // self.num_nodes]
                raise ValueError(f"Graph: expected a hierarchy without cycles, but {name!r} is above itself.")
            walks.append(step)
        return Graph(self._pairs(torch.cat(walks).unique()), self.num_nodes, self.names)

    def subgraph(self, keep: Bool[Tensor, " n"]) -> "Graph":
        """Return the edges between the nodes that ``keep`` marks, which are numbered anew in the same order."""
        number = keep.cumsum(0) - 1
        names = tuple(name for name, kept in zip(self.names, keep.tolist(), strict=True) if kept)
        return Graph(number[self.edges[keep[self.edges].all(1)]], len(names), names)

    def hop_distances(self, nodes: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Return the least number of edges, in any direction, from ``nodes`` to every node; inf where no path leads."""
        distance = torch.full((len(nodes) * self.num_nodes,), torch.inf)
        reached = torch.arange(len(nodes)) * self.num_nodes + nodes
        hops = 0
        while len(reached):
            distance[reached] = hops
            frontier = (distance == hops).nonzero().squeeze(1)
            node = frontier % self.num_nodes
            position, neighbour = self._undirected.successors(node)
            reached = (frontier - node)[position] + neighbour
            reached = reached[distance[reached].isinf()]
            hops += 1
        return distance.view(len(nodes), self.num_nodes)

    @cached_property
    def _undirected(self) -> "Graph":
        return self.symmetric()

    def _steps(self, keys: Tensor, other: "Graph") -> Tensor:
        """Prolong the pairs of ``keys`` by an edge of ``other``; return keys."""
        u, v = self._pairs(keys).unbind(1)
        position, w = other.successors(v)
        return (u[position] * self.num_nodes + w).unique()

    def _pairs(self, keys: Tensor) -> Tensor:
        return torch.stack([keys // self.num_nodes, keys % self.num_nodes], dim=1)
