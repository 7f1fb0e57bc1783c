"""The order of a hierarchy: which edges, branches and nodes a picture of it shows."""

from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from isometry.trainers.data import Graph


class Hierarchy:
    """A partial order on nodes.

    Args:
        graph: Edges (child, parent): direct ones, their transitive closure, or anything between.

    Raises:
        ValueError: The graph has a cycle.
    """

    def __init__(self, graph: Graph) -> None:
        self.closure = graph.transitive_closure()

    @cached_property
    def edges(self) -> Int[Tensor, "e 2"]:
        """The direct edges: those between whose ends no node lies (the transitive reduction)."""
        longer = self.closure.compose(self.closure)
        return self.closure.edges[~torch.isin(self.closure.keys, longer.keys)]

    @cached_property
    def sizes(self) -> Int[Tensor, " n"]:
        """The number of nodes below each, itself included."""
        return 1 + self.closure.edges[:, 1].bincount(minlength=self.closure.num_nodes)

    def landmarks(self) -> list[int]:
        """Return the nodes by size, without those of which nine tenths or more are one child's, except the topmost."""
        child, parent = self.edges.T
        largest = torch.zeros_like(self.sizes).scatter_reduce(0, parent, self.sizes[child], "amax")
        top = torch.ones_like(self.sizes, dtype=torch.bool).index_fill(0, child, False)
        chosen = (top | (largest < 0.9 * self.sizes)).nonzero().squeeze(1)
        return chosen[self.sizes[chosen].argsort(descending=True, stable=True)].tolist()

    def branches(self, count: int) -> list[int | None]:
        """Return each node's branch, numbered by size, or ``None`` for nodes in none of the ``count`` largest.

        A branch is a node that has at most a third of all nodes below it, while those above it have more.
        """
        node, above = self.closure.edges.T
        small = self.sizes <= len(self.sizes) / 3
        heads = (small & torch.ones_like(small).index_fill(0, node[small[above]], False)).nonzero().squeeze(1)
        heads = heads[self.sizes[heads].argsort(descending=True, stable=True)][:count]
        branch: list[int | None] = [None] * len(self.sizes)
        for number, head in reversed(list(enumerate(heads.tolist()))):
            for member in (head, *node[above == head].tolist()):
                branch[member] = number
        return branch
