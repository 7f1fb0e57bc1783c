"""The recipe of the embedding benchmark, and isometry's contestants: through the trainer and without it."""

import functools
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch import Tensor

from isometry.manifolds import PoincareBall
from isometry.models import NodeEmbedding
from isometry.trainers import GraphEmbedding
from isometry.trainers._fused_ranking import FusedRankingStep
from isometry.trainers.data import EdgeBatches, Graph, GraphDataModule
from isometry.trainers.losses import RankingLoss
from isometry.trainers.optim import RiemannianSGD


@dataclass(frozen=True)
class Recipe:
    """What all contestants share. `pair_rate` is the learning rate of one pair of a full batch."""

    dim: int
    negatives: int
    batch: int
    pair_rate: float
    burn_in: int
    burn_in_factor: float = 0.01
    burn_in_power: float = 0.75
    seed: int = 0

    @property
    def rate(self) -> float:
        """Learning rate on the mean loss of a batch."""
        return self.pair_rate * self.batch

    def rate_at(self, epoch: int) -> float:
        """The same in an epoch: reduced during burn-in, then constant."""
        return self.rate * (self.burn_in_factor if epoch < self.burn_in else 1.0)

    def batches(self, graph: Graph) -> EdgeBatches:
        """Index batches [batch, 2 + negatives] (child, parent, negatives); each iteration is an epoch."""
        return EdgeBatches(
            graph,
            self.batch,
            self.negatives,
            burn_in_epochs=self.burn_in,
            burn_in_power=self.burn_in_power,
            seed=self.seed,
        )


# A contestant yields (pairs trained so far, table [num_nodes, dim]): first (0, start) once it is set up, then
# whenever it likes, at least once an epoch. The clock runs only between two yields.
Contestant: TypeAlias = Callable[[Graph, Recipe], Iterator[tuple[int, Tensor]]]


def isometry_trainer(dtype: torch.dtype, fused: bool = True) -> Contestant:
    """`GraphEmbedding` on `GraphDataModule` by `Trainer.fit`, as a user would run it."""

    def train(graph: Graph, recipe: Recipe) -> Iterator[tuple[int, Tensor]]:
        torch.manual_seed(recipe.seed)
        data = GraphDataModule(
            graph,
            batch_size=recipe.batch,
            num_negatives=recipe.negatives,
            burn_in_epochs=recipe.burn_in,
            burn_in_power=recipe.burn_in_power,
            seed=recipe.seed,
        )
        module = GraphEmbedding(
            NodeEmbedding(graph.num_nodes, PoincareBall(recipe.dim), dtype=dtype),
            RankingLoss(),
            functools.partial(RiemannianSGD, lr=recipe.rate),
            burn_in_epochs=recipe.burn_in,
            burn_in_factor=recipe.burn_in_factor,
            fused=fused,
        )
        table = module.model.nodes.weight.detach()
        return ((epochs * len(graph.edges), table) for epochs in _fit_by_epochs(module, data))

    return train


def _fit_by_epochs(module: pl.LightningModule, data: pl.LightningDataModule) -> Iterator[int]:
    """Yield the number of epochs trained, from 0, by a `Trainer.fit` without end.

    It runs in a thread of its own that takes strict turns with the caller: training waits at the end of every epoch
    until the next is asked for.
    """
    turns: queue.Queue[BaseException | None] = queue.Queue()
    resume = threading.Semaphore(0)

    def wait(*_: object) -> None:
        turns.put(None)
        resume.acquire()

    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[LambdaCallback(on_train_start=wait, on_train_epoch_end=wait)],
    )

    def fit() -> None:
        torch.set_num_threads(1)  # counts for the thread that says it
        try:
            trainer.fit(module, datamodule=data)
        except BaseException as error:  # handed to the thread that waits, which raises it
            turns.put(error)

    threading.Thread(target=fit, daemon=True).start()
    for epochs in itertools.count():
        if (error := turns.get()) is not None:
            raise error
        yield epochs
        resume.release()


def isometry_bare(dtype: torch.dtype) -> Contestant:
    """A loop over the step that `GraphEmbedding` takes, to show what the trainer adds."""

    def train(graph: Graph, recipe: Recipe) -> Iterator[tuple[int, Tensor]]:
        torch.manual_seed(recipe.seed)
        model = NodeEmbedding(graph.num_nodes, PoincareBall(recipe.dim), dtype=dtype)
        table = model.nodes.weight.detach()
        step = FusedRankingStep(table, PoincareBall(recipe.dim))
        batches = recipe.batches(graph)
        yield 0, table
        for epoch in itertools.count():
            rate = recipe.rate_at(epoch)
            for batch in batches:
                step(batch, rate)
            yield (epoch + 1) * len(graph.edges), table

    return train
