"""The peers of the embedding benchmark: a loop on geoopt, the authors' published code, and gensim."""

import itertools
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import geoopt
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.embedding_contestants import Contestant, Recipe
from isometry.trainers.data import Graph

FB_HELP = """The published code is not part of this repository (its licence is CC BY-NC 4.0: measure, do not ship).
    git clone https://github.com/facebookresearch/poincare-embeddings FOLDER
In FOLDER/hype/graph_dataset.pyx replace npc.long_t and np.long by npc.int64_t and np.int64, then build that one
extension with Cython as C++ in place (adjacency_matrix_dataset does not compile with a current Cython and is not
needed), and pass --fb-path FOLDER."""


def geoopt_loop(dtype: torch.dtype) -> Contestant:
    """A hand-written loop on geoopt: autograd through `PoincareBall.dist`, then `SparseRiemannianSGD`."""

    def train(graph: Graph, recipe: Recipe) -> Iterator[tuple[int, Tensor]]:
        torch.manual_seed(recipe.seed)
        batches = recipe.batches(graph)
        ball = geoopt.PoincareBall()
        start = torch.empty(graph.num_nodes, recipe.dim, dtype=dtype).uniform_(-1e-3, 1e-3)
        table = geoopt.ManifoldParameter(start, manifold=ball)
        optimizer = geoopt.optim.SparseRiemannianSGD([table], lr=recipe.rate)
        yield 0, table.detach()
        for epoch in itertools.count():
            optimizer.param_groups[0]["lr"] = recipe.rate_at(epoch)
            for batch in batches:
                points = functional.embedding(batch, table, sparse=True)
                energy = -ball.dist(points[:, :1], points[:, 1:])
                optimizer.zero_grad()
                functional.cross_entropy(energy, torch.zeros_like(batch[:, 0])).backward()
                optimizer.step()
            yield (epoch + 1) * len(graph.edges), table.detach()

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
        yield 0, model.lt.weight.detach()
        for epoch in itertools.count():
            data.burnin = epoch < recipe.burn_in
            for inputs, targets in data:
                optimizer.zero_grad()
                loss = model.loss(model(inputs), targets)
                loss.backward()
                optimizer.step(lr=recipe.rate_at(epoch))
            yield (epoch + 1) * len(edges), model.manifold.normalize(model.lt.weight.detach().clone())

    return train


def gensim_model(alpha: float, batch: int) -> Contestant:
    """The PoincareModel of gensim with a rate and batch of its own; its first call trains the burn-in and one epoch."""

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
        for epochs in itertools.count(burn_in + 1):
            model.train(epochs=1, batch_size=batch, print_every=10**9)
            yield epochs * len(relations), torch.from_numpy(model.kv.vectors[order])

    return train
