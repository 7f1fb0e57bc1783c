from functools import partial
from pathlib import Path
from typing import Any

import geoopt
import pytest
import torch

from isometry.manifolds import Euclidean, Lorentz, Oblique, PoincareBall, Product, Scaled, Sphere
from isometry.models import HGCN, MixedCurvatureEmbedding, ProductHGCN
from isometry.trainers import GraphEmbedding, LinkPrediction
from isometry.trainers.data import DistanceDataModule, LinkDataModule, balanced_tree
from isometry.trainers.losses import DistortionLoss
from isometry.trainers.optim import RiemannianAdam
from tests.trainers.callbacks.toy import trainer

FACTORS = [PoincareBall(2, 0.7), Sphere(2), Euclidean(3)]


def embedding(factors: Any = FACTORS, nodes: int = 6) -> MixedCurvatureEmbedding:
    torch.manual_seed(0)
    model = MixedCurvatureEmbedding(nodes, factors, init_scale=1.0).double()
    with torch.no_grad():
        model.log_scales.copy_(torch.linspace(-0.4, 0.6, len(factors)))
    return model


def test_distances_are_those_of_geoopts_product_and_of_scaled_factors() -> None:
    model = embedding()
    x = model.nodes.weight.detach()
    scales = model.log_scales.exp().detach()
    found = model(torch.arange(6).unsqueeze(0))[0]
    hyperbolic = geoopt.PoincareBall(c=torch.tensor(0.7, dtype=torch.float64)).dist(x[0, :2], x[1:, :2])
    spherical = geoopt.Sphere().dist(x[0, 2:5], x[1:, 2:5])
    flat = (x[0, 5:] - x[1:, 5:]).norm(dim=-1)
    expected = (scales.square() * torch.stack([hyperbolic, spherical, flat], -1).square()).sum(-1).sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)
    product = Product([Scaled(m, float(s)) for m, s in zip(FACTORS, scales, strict=True)])
    torch.testing.assert_close(found, product.dist(x[0], x[1:]), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.distances_from(torch.tensor([0]))[0, 1:], found, rtol=1e-12, atol=1e-12)


def test_the_signature_is_that_of_the_scaled_factors() -> None:
    model = embedding([PoincareBall(2, 0.7), Lorentz(2, 3.0, learnable=True), Sphere(2), Euclidean(3)])
    expected = torch.tensor([-0.7, -3.0, 1.0, 0.0], dtype=torch.float64) / model.log_scales.mul(2).exp()
    torch.testing.assert_close(model.curvatures(), expected, rtol=1e-6, atol=0)


def test_learned_scales_embed_a_tree_better_than_fixed_ones(tmp_path: Path) -> None:
    graph = balanced_tree(3, 3)
    losses = []
    for learned in (True, False):
        torch.manual_seed(0)
        model = MixedCurvatureEmbedding(graph.num_nodes, [PoincareBall(2), Sphere(2)], init_scale=0.1)
        model.log_scales.requires_grad_(learned)
        task = GraphEmbedding(model, DistortionLoss(), partial(RiemannianAdam, lr=0.05), burn_in_epochs=0)
        run = trainer(tmp_path, max_epochs=60)
        run.fit(task, DistanceDataModule(graph, 40, 39))
        losses.append(run.callback_metrics["train/loss"].item())
        moved = model.curvatures() != torch.tensor([-1.0, 1.0])
        assert moved.tolist() == [learned, learned]
    assert losses[0] < losses[1]


def test_a_product_network_is_its_networks_side_by_side(tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = balanced_tree(3, 3)
    branches = [[PoincareBall(4, learnable=True)], [Euclidean(2)], [Lorentz(3), Lorentz(3)]]
    model = ProductHGCN(graph.num_nodes, branches)
    x, index = torch.eye(graph.num_nodes), graph.symmetric().edges.mT
    points = model.manifold.split(model(x, index))
    for part, branch in zip(points, model.branches, strict=True):
        assert isinstance(branch, HGCN)
        assert torch.equal(part, branch(x, index))
    run = trainer(tmp_path, max_epochs=40)
    run.fit(LinkPrediction(model, partial(RiemannianAdam, lr=0.02)), LinkDataModule(x, graph.edges, 0.1, 0.1))
    assert run.callback_metrics["train/loss"] < 0.5


def test_other_factors_are_refused() -> None:
    with pytest.raises(ValueError, match="expected factors PoincareBall, Lorentz, Sphere or Euclidean, but"):
        MixedCurvatureEmbedding(5, [Oblique(3, 2)])
