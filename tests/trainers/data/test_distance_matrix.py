"""Matrices of distances as data: what is unknown is never used, and hidden distances are found."""

import math
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from isometry.manifolds import Euclidean, HomogeneousManifold, PoincareBall, Product
from isometry.models import NodeEmbedding
from isometry.models.constructions import h_mds
from isometry.trainers import GraphEmbedding
from isometry.trainers.data import DistanceBatches, DistanceDataModule, DistanceMatrix, balanced_tree
from isometry.trainers.losses import DistortionLoss
from isometry.trainers.metrics import Distortion
from isometry.trainers.optim import RiemannianAdam


def points_and_distances(manifold: HomogeneousManifold, n: int = 40) -> tuple[Tensor, Tensor]:
    x = manifold.random(n, *manifold.point_shape, dtype=torch.float64)
    d = manifold.dist(x.unsqueeze(1), x)
    return x, ((d + d.T) / 2).fill_diagonal_(0)


def random_half(n: int = 40) -> Tensor:
    upper = torch.rand(n, n).triu(1)
    return (upper > 0.5) | (upper > 0.5).T


def fit(data: DistanceMatrix, manifold: HomogeneousManifold, start: Tensor, epochs: int, lr: float) -> Tensor:
    """Train on the known distances; return all."""
    model = NodeEmbedding(data.num_nodes, manifold, dtype=torch.float64)
    with torch.no_grad():
        model.nodes.weight.copy_(start)
    module = GraphEmbedding(model, DistortionLoss(), partial(RiemannianAdam, lr=lr), burn_in_epochs=0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0}
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", enable_checkpointing=False, **quiet)
    trainer.fit(module, DistanceDataModule(data, batch_size=10, num_others=20))
    return model.distances_from(torch.arange(data.num_nodes)).detach()


def error(distances: Tensor, truth: Tensor, pairs: Tensor) -> float:
    off = pairs & ~torch.eye(len(truth), dtype=torch.bool)
    return float((distances / truth - 1)[off].abs().mean())


# --- what the batches and metrics see ------------------------------------------------------------------------


def test_a_graph_given_by_its_distances_is_the_graph() -> None:
    graph = balanced_tree(3, 3)
    matrix = DistanceMatrix(graph.hop_distances(torch.arange(40)))
    for ours, theirs in zip(DistanceBatches(matrix, 8, 5), DistanceBatches(graph, 8, 5), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    guess = 1 + torch.rand(40, 40)
    values = []
    for data in (graph, matrix):
        metric = Distortion(data)
        metric.update(torch.arange(40), guess)
        values.append(metric.compute())
    assert values[0] == values[1]


def test_unknown_distances_are_never_used() -> None:
    _, distances = points_and_distances(Euclidean(3))
    known = random_half()
    data = DistanceMatrix(distances.masked_fill(~known, math.nan), known)
    assert len(data.edges) == known.sum()
    for index, target in DistanceBatches(data, 8, 6):
        assert known[index[:, :1], index[:, 1:]].all()
        assert torch.equal(target, distances[index[:, :1], index[:, 1:]])


# --- optimisation --------------------------------------------------------------------------------------------


def test_hidden_distances_of_a_product_are_found_from_a_start_nearby() -> None:
    manifold = Product([PoincareBall(2), Euclidean(2)])
    x, distances = points_and_distances(manifold)
    known = random_half()
    moved = manifold.expmap(x, manifold.proju(x, 0.1 * torch.randn_like(x)))
    before = manifold.dist(moved.unsqueeze(1), moved)
    after = fit(DistanceMatrix(distances.masked_fill(~known, math.nan), known), manifold, moved, 40, 0.01)
    assert error(after, distances, ~known) < error(before, distances, ~known) / 2


def test_the_curvature_is_learned_from_a_construction() -> None:
    """Started by h-MDS in a space of half the curvature, training goes to the curvature of the points."""
    _, distances = points_and_distances(PoincareBall(3, c=1.0))
    manifold = PoincareBall(3, c=0.5, learnable=True)
    start = h_mds(distances, manifold)
    before = manifold.dist(start.unsqueeze(1), start).detach()
    everything = torch.ones(40, 40, dtype=torch.bool)
    after = fit(DistanceMatrix(distances), manifold, start, 60, 0.02)
    assert error(after, distances, everything) < error(before, distances, everything) / 2
    assert 0.6 < manifold.c.item() < 1.1


# --- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_distances_that_are_none_are_refused_where_known(value: float) -> None:
    distances = 1 - torch.eye(4)
    distances[1, 3] = distances[3, 1] = value
    with pytest.raises(
        ValueError, match=r"positive, finite distances, but that of 1 and 3 is .*; make nodes at distance 0"
    ):
        DistanceMatrix(distances)
    known = distances == 1
    assert DistanceMatrix(distances, known).hop_distances(torch.tensor([1]))[0, 3] == torch.inf


def test_matrices_that_do_not_fit_are_refused() -> None:
    distances = 1 - torch.eye(3)
    with pytest.raises(ValueError, match=r"square matrices of one size, but got \[2, 3\]"):
        DistanceMatrix(distances[:2])
    with pytest.raises(ValueError, match=r"but got \[3, 3\] and \[2, 2\]"):
        DistanceMatrix(distances, torch.ones(2, 2, dtype=torch.bool))
    distances[0, 2] = 2.0
    with pytest.raises(ValueError, match=r"from 0 to 2 it is 2.0 and back 1.0; take \(d \+ d.T\)/2"):
        DistanceMatrix(distances)
    with pytest.raises(ValueError, match=r"from 0 to 1 it is 1.0 and back inf"):
        DistanceMatrix(1 - torch.eye(3), torch.tensor([[0, 1, 1], [0, 0, 1], [1, 1, 0]]).bool())
