"""Who trains Poincare embeddings in benchmarks/embedding_peers.py: the peers, and LightningModules, on equal terms."""

import math
import queue
import random
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import geoopt
import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

FB_HELP = """The published code is not part of this repository (its licence is CC BY-NC 4.0: measure, do not ship).
    git clone https://github.com/facebookresearch/poincare-embeddings FOLDER
In FOLDER/hype/graph_dataset.pyx replace npc.long_t and np.long by npc.int64_t and np.int64, then build that one
extension with Cython as C++ in place (adjacency_matrix_dataset does not compile with a current Cython and is not
needed), and pass --fb-path FOLDER."""


@dataclass(frozen=True)
class Graph:
    """A transitive closure: `edges[i] = (u, v)` says that u is a v; nodes are numbered 0 .. num_nodes - 1."""

    edges: Tensor
    num_nodes: int


@dataclass(frozen=True)
class Recipe:
    """What all contestants share. `rate` is the learning rate of one pair (the loss is summed over the batch)."""

    dim: int
    negatives: int
    batch: int
    rate: float
    burn_in: int
    burn_in_factor: float = 0.01
    burn_in_power: float = 0.75
    seed: int = 0

    def rate_at(self, epoch: int) -> float:
        """Learning rate of an epoch: reduced during burn-in, then constant."""
        return self.rate * (self.burn_in_factor if epoch < self.burn_in else 1.0)


# A contestant yields (pairs trained so far, table [num_nodes, dim]): first (0, start) once it is set up, then
# whenever it likes, at least once an epoch. The clock runs only between two yields.
Contestant: TypeAlias = Callable[[Graph, Recipe], Iterator[tuple[int, Tensor]]]


class Batches:
    """Shuffled epochs of index batches [B, 2 + K] (child, parent, negatives), drawn an epoch at a time.

    A negative v of u is redrawn while (u, v) is an edge or v = u. Membership is a hashed bitmap: it never misses an
    edge, and at 32 slots an edge it also rejects about 3 % of the true negatives, which changes nothing that matters.
    """

    def __init__(self, graph: Graph, recipe: Recipe) -> None:
        self.graph, self.recipe = graph, recipe
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.mask = (1 << math.ceil(math.log2(32 * len(graph.edges)))) - 1
        self.taken = torch.zeros(self.mask + 1, dtype=torch.bool)
        nodes = torch.arange(graph.num_nodes)
        self.taken[self._slot(*graph.edges.T)] = True
        self.taken[self._slot(nodes, nodes)] = True
        weights = graph.edges[:, 1].bincount(minlength=graph.num_nodes).double() ** recipe.burn_in_power
        self.by_degree = weights.multinomial(1 << 20, replacement=True, generator=self.generator)

    def _slot(self, u: Tensor, v: Tensor) -> Tensor:
        mixed = (u * self.graph.num_nodes + v) * 0x1E3779B97F4A7C15  # odd multiplier: Fibonacci hashing
        return (mixed >> 20) & self.mask

    def _draw(self, count: int, burn_in: bool) -> Tensor:
        if burn_in:
            return self.by_degree[torch.randint(len(self.by_degree), (count,), generator=self.generator)]
        return torch.randint(self.graph.num_nodes, (count,), generator=self.generator)

    def epoch(self, number: int) -> Iterator[Tensor]:
        """Yield the batches of one epoch."""
        burn_in = number < self.recipe.burn_in
        edges = self.graph.edges[torch.randperm(len(self.graph.edges), generator=self.generator)]
        child = edges[:, :1].expand(-1, self.recipe.negatives).flatten()
        negative = self._draw(len(child), burn_in)
        wrong = self.taken[self._slot(child, negative)].nonzero().squeeze(1)
        while len(wrong):
            negative[wrong] = self._draw(len(wrong), burn_in)
            wrong = wrong[self.taken[self._slot(child[wrong], negative[wrong])]]
        yield from torch.cat((edges, negative.view(len(edges), -1)), dim=1).split(self.recipe.batch)


def geoopt_loop(dtype: torch.dtype) -> Contestant:
    """A hand-written loop on geoopt: autograd through `PoincareBall.dist`, then `SparseRiemannianSGD`."""

    def train(graph: Graph, recipe: Recipe) -> Iterator[tuple[int, Tensor]]:
        torch.manual_seed(recipe.seed)
        batches = Batches(graph, recipe)
        ball = geoopt.PoincareBall()
        start = torch.empty(graph.num_nodes, recipe.dim, dtype=dtype).uniform_(-1e-3, 1e-3)
        table = geoopt.ManifoldParameter(start, manifold=ball)
        optimizer = geoopt.optim.SparseRiemannianSGD([table], lr=recipe.rate)
        pairs = epoch = 0
        yield pairs, table.detach()
        while True:
            optimizer.param_groups[0]["lr"] = recipe.rate_at(epoch)
            for batch in batches.epoch(epoch):
                points = functional.embedding(batch, table, sparse=True)
                energy = -ball.dist(points[:, :1], points[:, 1:])
                optimizer.zero_grad()
                functional.cross_entropy(energy, torch.zeros_like(batch[:, 0]), reduction="sum").backward()
                optimizer.step()
                pairs += len(batch)
            epoch += 1
            yield pairs, table.detach()

    return train


def published_code(folder: Path) -> Contestant:
    """The authors' code: its model, sampler thread and optimizer, driven by its own step without its logging."""
    if not list((folder / "hype").glob("graph_dataset*.so")):
        raise SystemExit(f"no built hype/graph_dataset extension under {folder}\n{FB_HELP}")
    sys.path.insert(0, str(folder))

    def train(graph: Graph, recipe: Recipe) -> Iterator[tuple[int, Tensor]]:
        from hype import build_model
        from hype.graph_dataset import BatchedDataset
        from hype.rsgd import RiemannianSGD

        torch.manual_seed(recipe.seed)
        np.random.seed(recipe.seed)
        edges, names = graph.edges.numpy(), [str(i) for i in range(graph.num_nodes)]
        weights = np.ones(len(edges))
        data = BatchedDataset(edges, names, weights, recipe.negatives, recipe.batch, 1, True, recipe.burn_in_power)
        options = {"model": "distance", "manifold": "poincare", "dim": recipe.dim, "sparse": True, "margin": 0.0}
        model = build_model(options, graph.num_nodes).double()  # its optimizer is written for float64
        optimizer = RiemannianSGD(model.optim_params(), lr=recipe.rate)
        pairs = epoch = 0
        yield pairs, model.lt.weight.detach()
        while True:
            data.burnin = epoch < recipe.burn_in
            rate = recipe.rate_at(epoch) * recipe.batch  # its loss is the mean over the batch
            for inputs, targets in data:
                optimizer.zero_grad()
                loss = model.loss(model(inputs), targets)
                loss.backward()
                optimizer.step(lr=rate)
                pairs += len(inputs)
            epoch += 1
            yield pairs, model.manifold.normalize(model.lt.weight.detach().clone())

    return train


def gensim_model(alpha: float, batch: int) -> Contestant:
    """The PoincareModel of gensim at its own best batch and rate; its first call trains the burn-in and one epoch."""

    def train(graph: Graph, recipe: Recipe) -> Iterator[tuple[int, Tensor]]:
        from gensim.models.poincare import PoincareModel

        relations = [(str(u), str(v)) for u, v in graph.edges.tolist()]
        random.seed(recipe.seed)
        burn_in = min(recipe.burn_in, 10)  # its default, and better for it than 20
        model = PoincareModel(
            relations,
            size=recipe.dim,
            alpha=alpha,
            negative=recipe.negatives,
            burn_in=burn_in,
            seed=recipe.seed,
        )
        order = [model.kv.key_to_index[str(i)] for i in range(graph.num_nodes)]
        yield 0, torch.from_numpy(model.kv.vectors[order])
        epochs = burn_in
        while True:
            model.train(epochs=1, batch_size=batch, print_every=10**9)
            epochs += 1
            yield epochs * len(relations), torch.from_numpy(model.kv.vectors[order])

    return train


def through_lightning(
    build: Callable[[Graph, Recipe], tuple[pl.LightningModule, DataLoader[Tensor], Tensor]],
) -> Contestant:
    """A LightningModule, its data and its table as `build` returns them, trained by `Trainer.fit` in its own thread.

    The thread and the clock take strict turns: training waits at the end of every epoch until the next is asked for.
    """

    def train(graph: Graph, recipe: Recipe) -> Iterator[tuple[int, Tensor]]:
        module, loader, weight = build(graph, recipe)
        turns: queue.Queue[Tensor | BaseException] = queue.Queue()
        resume = threading.Semaphore(0)

        def wait(*_: object) -> None:
            turns.put(weight.detach())
            resume.acquire()

        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[LambdaCallback(on_train_start=wait, on_train_epoch_end=wait)],
        )

        def fit() -> None:
            torch.set_num_threads(1)
            try:
                trainer.fit(module, loader)
            except BaseException as error:  # handed to the thread that waits, which raises it
                turns.put(error)

        threading.Thread(target=fit, daemon=True).start()
        epochs = 0
        while True:
            table = turns.get()
            if isinstance(table, BaseException):
                raise table
            yield epochs * len(graph.edges), table
            epochs += 1
            resume.release()

    return train
