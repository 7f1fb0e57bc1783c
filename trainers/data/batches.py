"""Batches of node numbers: training pairs with negatives, and rows to evaluate."""

from collections.abc import Iterator
from functools import lru_cache, partial

import torch
from jaxtyping import Int
from torch import Tensor

from isometry.trainers.data.epochs import Epochs
from isometry.trainers.data.graph import Graph
from isometry.trainers.data.negative_sampling import NegativeSampler

_CHUNK = 8192  # pairs whose negatives are drawn together: large for speed, small for the cache and for a quick resume


class EdgeBatches(Epochs):
    """Shuffled edges with negatives, ``[batch_size, 2 + K]``: u, v, and K nodes that u is not related to.

    Under several processes all draw the same batches and each takes its share of the rows: the mean of their losses is
    the loss of one process.

    Args:
        graph: The edges.
        batch_size: Rows of a batch, over all processes together.
        num_negatives: K.
        updates: If above 1, an item is ``[updates, batch_size, 2 + K]``: so many batches, which are then the same ones.
            An epoch's last item may hold fewer; a short last batch is an item of its own.
        burn_in_epochs: In so many first epochs, negatives are drawn in proportion to a power of the in-degree.
        burn_in_power: That power; after burn-in it is 0.
        drop_last: Leave out the short batch at the end of an epoch.
        seed: Of order and negatives.
        rank: This process.
        world_size: Number of processes. A short last batch loses the rows that do not divide by it.

    Raises:
        ValueError: If the sizes do not fit the graph or each other.

    Source: Nickel & Kiela 2017, section 3.1.
    """

    def __init__(
        self,
        graph: Graph,
        batch_size: int,
        num_negatives: int,
        *,
        updates: int = 1,
        burn_in_epochs: int = 0,
        burn_in_power: float = 0.75,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(
                f"EdgeBatches: expected a batch_size that divides by the {world_size} processes, but got {batch_size}."
            )
        if len(graph.edges) < (batch_size if drop_last else world_size):
            raise ValueError(
                f"EdgeBatches: {len(graph.edges)} edges make no batch of {batch_size}; choose a smaller batch_size."
            )
        self.graph = graph
        self.batch_size = batch_size
        self.updates = updates
        self.burn_in_epochs, self.burn_in_power = burn_in_epochs, burn_in_power
        self.rank, self.world_size = rank, world_size
        full = len(graph.edges) // batch_size * batch_size
        end = full if drop_last else len(graph.edges) // world_size * world_size
        ends = [*range(updates * batch_size, full, updates * batch_size), *([full] if full else [])]
        identity = {
            "num_nodes": graph.num_nodes,
            "num_edges": len(graph.edges),
            "batch_size": batch_size,
            "num_negatives": num_negatives,
            "burn_in_epochs": burn_in_epochs,
            "burn_in_power": burn_in_power,
        }
        super().__init__(ends + ([end] if end > full else []), identity, seed)
        self._sampler = lru_cache(maxsize=1)(partial(NegativeSampler, graph, num_negatives))

    def items(self, epoch: int, start: int) -> Iterator[Int[Tensor, "*s b m"]]:
        """Yield the epoch's items from the one that starts at row ``start``."""
        edges = self.graph.edges[torch.randperm(len(self.graph.edges), generator=self.generator(epoch))]
        chunk = lru_cache(maxsize=1)(partial(self._chunk, epoch, edges))
        for end in self.ends_after(start):
            numbers = range(start // _CHUNK, -(-end // _CHUNK))
            rows = torch.cat([chunk(i)[max(start - i * _CHUNK, 0) : end - i * _CHUNK] for i in numbers])
            yield self._item_of(rows)
            start = end

    def _item_of(self, rows: Tensor) -> Tensor:
        batch = min(self.batch_size, len(rows))
        item = rows.view(-1, batch, rows.shape[1])[:, self.rank :: self.world_size]
        return item.contiguous() if self.updates > 1 else item[0].contiguous()

    def _chunk(self, epoch: int, edges: Tensor, number: int) -> Tensor:
        """Return chunk ``number`` of an epoch's rows."""
        power = self.burn_in_power if epoch < self.burn_in_epochs else 0.0
        pairs = edges[number * _CHUNK : (number + 1) * _CHUNK]
        negatives = self._sampler(power).sample(pairs[:, 0], self.generator(epoch, 1 + number))
        return torch.cat([pairs, negatives], dim=1)


class NodeBatches:
    """Nodes, a few at a time, each process its share of them; all processes get equally many items.

    Args:
        nodes: Numbers of nodes.
        batch_size: Nodes of an item, over all processes together; the last item may have none for some.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(self, nodes: Int[Tensor, " n"], batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        self._items = [item[rank::world_size] for item in nodes.split(batch_size)]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Int[Tensor, " b"]]:
        return iter(self._items)
