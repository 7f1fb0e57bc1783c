"""The Lightning data module of a graph."""

import pytorch_lightning as pl
import torch

from isometry.trainers.data.batches import EdgeBatches, NodeBatches
from isometry.trainers.data.graph import Graph
from isometry.trainers.data.wordnet import wordnet_mammals

_EVALUATED_DISTANCES = 2**19  # of an evaluation item, over all processes; bounds the memory of its distances


class GraphDataModule(pl.LightningDataModule):
    """Batches for the embedding of a graph: edges with negatives to train, nodes to evaluate.

    A training item is what ``EdgeBatches`` says; it holds several batches if the Lightning module has an attribute
    ``updates_per_batch`` above 1. A validation or test item holds nodes, whose rows of distances are to be judged.

    Args:
        graph: What to embed; WordNet's mammals by default.
        batch_size: Edges of a batch, over all processes together.
        num_negatives: Negatives of an edge.
        burn_in_epochs: In so many first epochs, negatives are drawn in proportion to a power of (1 + in-degree).
        burn_in_power: That power.
        drop_last: Leave out the short batch at the end of an epoch.
        eval_nodes: Evaluate so many nodes, chosen at random once, and not all.
        seed: Of order, negatives and choice.

    Source: Nickel & Kiela 2017, sections 3 and 4.
    """

    def __init__(
        self,
        graph: Graph | None = None,
        batch_size: int = 100,
        num_negatives: int = 10,
        burn_in_epochs: int = 20,
        burn_in_power: float = 0.75,
        drop_last: bool = False,
        eval_nodes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.num_negatives = num_negatives
        self.burn_in_epochs = burn_in_epochs
        self.burn_in_power = burn_in_power
        self.drop_last = drop_last
        self.eval_nodes = eval_nodes
        self.seed = seed
        self.graph = wordnet_mammals() if graph is None else graph

    @property
    def num_nodes(self) -> int:
        """Number of nodes, which a config may link to the model's."""
        return self.graph.num_nodes

    def train_dataloader(self) -> EdgeBatches:
        """Return this process's share of the training batches."""
        trainer = self.trainer
        return EdgeBatches(
            self.graph,
            self.batch_size,
            self.num_negatives,
            updates=getattr(trainer and trainer.lightning_module, "updates_per_batch", 1),
            burn_in_epochs=self.burn_in_epochs,
            burn_in_power=self.burn_in_power,
            drop_last=self.drop_last,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )

    def val_dataloader(self) -> NodeBatches:
        """Return this process's share of the nodes to evaluate."""
        n, trainer = self.num_nodes, self.trainer
        nodes = torch.arange(n)
        if self.eval_nodes is not None:
            nodes = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))[: self.eval_nodes]
        world_size = trainer.world_size if trainer else 1
        return NodeBatches(
            nodes,
            max(world_size, _EVALUATED_DISTANCES // n),
            rank=trainer.global_rank if trainer else 0,
            world_size=world_size,
        )

    test_dataloader = val_dataloader
