"""The Lightning data module of a graph."""

import torch

from isometry.trainers.data.batches import EdgeBatches, NodeBatches
from isometry.trainers.data.distance_batches import DistanceBatches
from isometry.trainers.data.graph import Graph
from isometry.trainers.data.process_share import SharedDataModule

_EVALUATED_DISTANCES = 2**19  # of an evaluation item, over all processes; bounds the memory of its distances


class _EvaluatedGraph(SharedDataModule):
    """A graph whose nodes, or a sample of them, are evaluated."""

    def __init__(self, graph: Graph, eval_nodes: int | None, seed: int) -> None:
        super().__init__()
        self.graph = graph
        self.eval_nodes = eval_nodes
        self.seed = seed

    @property
    def num_nodes(self) -> int:
        """Number of nodes, which has to be the model's."""
        return self.graph.num_nodes

    def val_dataloader(self) -> NodeBatches:
        """Return this process's share of the nodes to evaluate."""
        n, share = self.num_nodes, self.share
        nodes = torch.arange(n)
        if self.eval_nodes is not None:
            nodes = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))[: self.eval_nodes]
        return NodeBatches(nodes, max(share.get("world_size", 1), _EVALUATED_DISTANCES // n), **share)

    test_dataloader = val_dataloader


class GraphDataModule(_EvaluatedGraph):
    """Batches for the embedding of a graph: edges with negatives to train, nodes to evaluate.

    A training item is what ``EdgeBatches`` says; it holds several batches if the Lightning module has an attribute
    ``updates_per_batch`` above 1. A validation or test item holds nodes, whose rows of distances are to be judged.

    Args:
        graph: What to embed.
        batch_size: Edges of a batch, over all processes together.
        num_negatives: Negatives of an edge.
        burn_in_epochs: In so many first epochs, negatives are drawn in proportion to a power of the in-degree.
        burn_in_power: That power.
        drop_last: Leave out the short batch at the end of an epoch.
        eval_nodes: Evaluate so many nodes, chosen at random once, and not all.
        seed: Of order, negatives and choice.

    Source: Nickel & Kiela 2017, sections 3 and 4.
    """

    def __init__(
        self,
        graph: Graph,
        batch_size: int = 100,
        num_negatives: int = 10,
        burn_in_epochs: int = 20,
        burn_in_power: float = 0.75,
        drop_last: bool = False,
        eval_nodes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(graph, eval_nodes, seed)
        self.batch_size = batch_size
        self.num_negatives = num_negatives
        self.burn_in_epochs = burn_in_epochs
        self.burn_in_power = burn_in_power
        self.drop_last = drop_last

    def train_dataloader(self) -> EdgeBatches:
        """Return this process's share of the training batches."""
        return EdgeBatches(
            self.graph,
            self.batch_size,
            self.num_negatives,
            updates=getattr(self.trainer and self.trainer.lightning_module, "updates_per_batch", 1),
            burn_in_epochs=self.burn_in_epochs,
            burn_in_power=self.burn_in_power,
            drop_last=self.drop_last,
            seed=self.seed,
            **self.share,
        )


class DistanceDataModule(_EvaluatedGraph):
    """Batches for an embedding that keeps a graph's distances: nodes with their numbers of edges to others.

    A training item is what ``DistanceBatches`` says, a validation or test item holds nodes.

    Args:
        graph: What to embed.
        batch_size: Nodes of a batch, over all processes together.
        num_others: Others that each node of a batch is compared with.
        eval_nodes: Evaluate so many nodes, chosen at random once, and not all.
        seed: Of order, others and choice.

    Source: Sala, De Sa, Gu & Re 2018, section 2; Gu, Sala, Gunel & Re 2019, section 4.1.
    """

    def __init__(
        self, graph: Graph, batch_size: int = 64, num_others: int = 64, eval_nodes: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(graph, eval_nodes, seed)
        self.batch_size = batch_size
        self.num_others = num_others

    def train_dataloader(self) -> DistanceBatches:
        """Return this process's share of the training batches."""
        return DistanceBatches(self.graph, self.batch_size, self.num_others, seed=self.seed, **self.share)
