"""
Embed trees and graphs without optimisation
===========================================

Sarkar's construction puts a tree into the hyperbolic plane with as little distortion as one likes. Coordinates would
need thousands of bits; distances by a sweep through the frames of the nodes need none. Of a graph that is no tree, a
spanning tree is embedded, and the share of a node's neighbours that are its neighbours in the tree is a lower bound of
the mean average precision (MAP). h-MDS finds points from all distances by one eigendecomposition. Both are starts for
an optimisation with a learned curvature, in which distances may be missing and the space may be a product.

The graphs of Sala, De Sa, Gu & Re (2018) do not come with the library: name a folder with their edge lists,
``phylo_tree.edges``, ``ca-CSphd.edges``, ``bio-diseasome.edges``, ``grqc.edges`` and ``wordnet.edges``. ``--smoke``
makes up a tree.
"""

import argparse
import math
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from isometry.manifolds import Euclidean, HomogeneousManifold, PoincareBall, Product
from isometry.models import NodeEmbedding
from isometry.models.constructions import Tree, h_mds, representable_tau, sarkar_embedding, spanning_tree
from isometry.trainers import GraphEmbedding
from isometry.trainers.data import DistanceDataModule, DistanceMatrix, Graph, balanced_tree, read_graph
from isometry.trainers.losses import DistortionLoss
from isometry.trainers.metrics import Distortion, Reconstruction
from isometry.trainers.optim import RiemannianAdam

WHERE = """--data: name a folder with phylo_tree.edges, ca-CSphd.edges, bio-diseasome.edges, grqc.edges and
wordnet.edges (two node numbers a line), from github.com/HazyResearch/hyperbolics, folder data/edges."""
GRAPHS = ("phylo_tree", "ca-CSphd", "bio-diseasome", "grqc", "wordnet")
CHUNK = 32


def bound(graph: Graph, tree: Tree) -> float:
    """Return the mean share of a node's neighbours that are so in the tree."""
    degree = tree.num_children + 1
    degree[0] -= 1
    return float((degree[tree.place] / graph.offsets.diff()).double().mean())


def sarkar_table(graphs: dict[str, Graph], taus: tuple[float, ...], sampled_rows: int) -> None:
    """Print the quality of Sarkar's embeddings in the plane; of large graphs, on sampled rows."""
    print(f"{'':14} {'n':>6} {'edges':>6} {'bound':>7}  tau    MAP              d_avg   bits a coordinate would need")
    for name, graph in graphs.items():
        tree = spanning_tree(graph.edges, graph.num_nodes)
        rows = torch.randperm(graph.num_nodes, generator=torch.Generator().manual_seed(0))
        rows = rows[:sampled_rows] if graph.num_nodes > 10_000 else rows
        for tau in taus:
            embedding = sarkar_embedding(tree, tau=tau)
            precision, distortion = Reconstruction(graph), Distortion(graph)
            for nodes in rows.split(CHUNK):
                distances = embedding.distances_from(nodes)
                precision.update(nodes, distances)
                distortion.update(nodes, distances)
            quality = precision.compute()
            print(
                f"{name:14} {graph.num_nodes:6} {len(graph.edges) // 2:6} {bound(graph, tree):7.4f}  {tau:3.0f}  "
                f"{quality['map']:.4f} +- {quality['map_error']:.4f}  {distortion.compute()['distortion']:.4f}  "
                f"{math.ceil(2 * tau * tree.height / math.log(2))}"
            )


def judge(graph: Graph, manifold: HomogeneousManifold, points: Tensor) -> str:
    """Return MAP and average distortion of points."""
    precision, distortion = Reconstruction(graph), Distortion(graph)
    for nodes in torch.arange(graph.num_nodes).split(CHUNK):
        distances = manifold.dist(points[nodes].unsqueeze(1), points)
        precision.update(nodes, distances)
        distortion.update(nodes, distances)
    return f"MAP {precision.compute()['map']:.4f}, d_avg {distortion.compute()['distortion']:.4f}"


def optimise(
    data: Graph, manifold: HomogeneousManifold, start: Tensor | None, epochs: int
) -> tuple[HomogeneousManifold, Tensor]:
    """Train all distances that ``data`` has, from given points or from near the origin."""
    pl.seed_everything(0, verbose=False)
    model = NodeEmbedding(data.num_nodes, manifold, init_scale=1e-2, dtype=torch.float64)
    if start is not None:
        with torch.no_grad():
            model.nodes.weight.copy_(start)
    module = GraphEmbedding(model, DistortionLoss(), partial(RiemannianAdam, lr=0.01), burn_in_epochs=epochs // 4)
    module.burn_in_factor = 0.1
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(module, DistanceDataModule(data, batch_size=32, num_others=64))
    return manifold, model.nodes.weight.detach()


def optimisation_table(graph: Graph, epochs: int) -> None:
    """Print what optimisation adds to the constructions, also where half of the distances are unknown."""
    n = graph.num_nodes
    distances = graph.hop_distances(torch.arange(n)).double()
    for c, dim in ((0.01, 2), (0.01, min(100, n)), (0.09, n)):
        ball = PoincareBall(dim, c=c)
        print(f"h-MDS, {dim} dimensions, curvature {-c}: {judge(graph, ball, h_mds(distances, ball))}")
    tree = spanning_tree(graph.edges, n)
    sarkar = sarkar_embedding(tree, tau=0.5 * representable_tau(tree.height))
    start, c = sarkar.points(), sarkar.tau**2
    print(f"Sarkar, 2 dimensions, curvature {-c:.2f}: {judge(graph, sarkar.manifold, start)}")
    known = torch.rand(n, n, generator=torch.Generator().manual_seed(0)) < 0.25
    half = DistanceMatrix(distances, known | known.T)
    product = Product([PoincareBall(2, c, learnable=True), Euclidean(8)])
    flat = 1e-2 * torch.randn(n, 8, dtype=start.dtype)
    cases: dict[str, tuple[Graph, HomogeneousManifold, Tensor | None]] = {
        "2 dimensions, from near the origin": (graph, PoincareBall(2, c, learnable=True), None),
        "2 dimensions, from Sarkar": (graph, PoincareBall(2, c, learnable=True), start),
        "the same, 44 % of the distances known": (half, PoincareBall(2, c, learnable=True), start),
        "times 8 flat dimensions, 44 % known": (half, product, product.join([start, flat])),
    }
    for name, (data, manifold, points) in cases.items():
        print(f"optimised, {name}: {judge(graph, *optimise(data, manifold, points, epochs))}")


def main(data: Path | None = None, rows: int = 2000, epochs: int = 200, smoke: bool = False) -> None:
    """Print the tables; ``smoke`` takes a tree of 40 nodes."""
    torch.set_num_threads(1)
    if smoke:
        graphs, epochs = {"tree": balanced_tree(3, 3).symmetric()}, 2
    elif data is None:
        raise SystemExit(WHERE)
    else:
        graphs = {name: read_graph(data / f"{name}.edges") for name in GRAPHS}
    sarkar_table(graphs, (1.0, 10.0), rows)
    optimisation_table(next(iter(graphs.values())), epochs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the edge lists")
    parser.add_argument(
        "--rows", type=int, default=2000, help="rows of distances sampled from graphs above 10,000 nodes"
    )
    parser.add_argument("--epochs", type=int, default=200, help="of the optimisation")
    parser.add_argument("--smoke", action="store_true", help="a tree of 40 nodes")
    main(**vars(parser.parse_args()))
