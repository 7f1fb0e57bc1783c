"""Batches of nodes with their distances in a graph."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isometry.trainers.data.epochs import Epochs
from isometry.trainers.data.graph import Graph


class DistanceBatches(Epochs):
    """Shuffled nodes, each with others that a path leads to: ``(index [batch_size, 1 + m], target [batch_size, m])``.

    A target is the number of edges between the first node of a row and another, in any direction; the others are drawn
    uniformly, with repetition. Nodes without an edge are left out. Under several processes all draw the same batches
    and each takes its share of the rows.

    Args:
        graph: The graph.
        batch_size: Rows of a batch, over all processes together.
        num_others: m.
        seed: Of order and others.
        rank: This process.
        world_size: Number of processes. A short last batch loses the rows that do not divide by it.

    Raises:
        ValueError: If the sizes do not fit the graph or each other.
    """

    def __init__(
        self, graph: Graph, batch_size: int, num_others: int, *, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self._nodes = graph.edges.unique()
        if batch_size < 1 or batch_size % world_size or num_others < 1:
            raise ValueError(
                "DistanceBatches: expected num_others >= 1 and a batch_size that divides by the "
                f"{world_size} processes, but got {num_others} and {batch_size}."
            )
        if len(self._nodes) < world_size:
            raise ValueError(f"DistanceBatches: expected nodes that edges join, but got {graph}.")
        self.graph = graph
        self.batch_size = batch_size
        self.num_others = num_others
        self.rank, self.world_size = rank, world_size
        end = len(self._nodes) // world_size * world_size
        identity = {
            "num_nodes": graph.num_nodes,
            "num_edges": len(graph.edges),
            "batch_size": batch_size,
            "num_others": num_others,
        }
        super().__init__([*range(batch_size, end, batch_size), end], identity, seed)

    def items(self, epoch: int, start: int) -> Iterator[tuple[Int[Tensor, "b k"], Float[Tensor, "b m"]]]:
        """Yield the epoch's items from the one that starts at row ``start``."""
        order = self._nodes[torch.randperm(len(self._nodes), generator=self.generator(epoch))]
        for end in self.ends_after(start):
            nodes = order[start : start + self.batch_size]
            hops = self.graph.hop_distances(nodes)
            joined = ((hops > 0) & hops.isfinite()).float()
            others = joined.multinomial(self.num_others, True, generator=self.generator(epoch, 1 + start))
            index, target = torch.cat([nodes.unsqueeze(1), others], 1), hops.gather(1, others)
            share = slice(self.rank, end - start, self.world_size)
            yield index[share], target[share]
            start = end
