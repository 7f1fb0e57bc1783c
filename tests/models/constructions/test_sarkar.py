"""Sarkar's construction beside the same in exact arithmetic, and its rules for the scale."""

import math

import mpmath
import pytest
import torch

from isometry.models.constructions import (
    SarkarEmbedding,
    Tree,
    coordinate_bits,
    representable_tau,
    sarkar_embedding,
    sarkar_tau,
)
from tests.models.constructions.trees import (
    DISK_BITS,
    disk_distance,
    lorentz_distances,
    published_construction,
    random_tree,
    tree_distances,
)

DIMS = [2, 3, 10]


def star(leaves: int) -> Tree:
    return Tree(torch.stack([torch.zeros(leaves, dtype=torch.int64), torch.arange(1, leaves + 1)], 1), leaves + 1)


def all_distances(embedding: SarkarEmbedding) -> torch.Tensor:
    return embedding.distances_from(torch.arange(embedding.tree.num_nodes))


# --- exact distances -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("tau", [1e-3, 0.3, 3.0, 40.0])
def test_distances_are_those_in_exact_arithmetic(dim: int, tau: float) -> None:
    """At tau = 40 nodes are hundreds of units out, where coordinates would need more than a thousand bits."""
    tree = random_tree(40, seed=dim, root=3)
    embedding = sarkar_embedding(tree, dim, tau=tau)
    generator = torch.Generator().manual_seed(0)
    pairs = [(u, v) for u, v in torch.randint(40, (100, 2), generator=generator).tolist() if u != v]
    found = all_distances(embedding)
    for (u, v), distance in zip(pairs, lorentz_distances(embedding, pairs), strict=True):
        assert found[u, v].item() == pytest.approx(distance, rel=1e-14, abs=0)


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_in_the_plane_it_is_the_published_construction(tau: float) -> None:
    tree = random_tree(40, seed=1, root=5)
    found = all_distances(sarkar_embedding(tree, tau=tau))
    with mpmath.workprec(DISK_BITS):
        points = published_construction(tree, tau)
        place = tree.place.tolist()
        for u in range(40):
            for v in range(u):
                distance = disk_distance(points[place[u]], points[place[v]]) / tau
                assert found[u, v].item() == pytest.approx(float(distance), rel=1e-14, abs=0)


@pytest.mark.parametrize("dim", DIMS)
def test_edges_have_their_length_and_rows_are_symmetric(dim: int) -> None:
    tree = random_tree(200)
    found = all_distances(sarkar_embedding(tree, dim, tau=2.0))
    child, parent = tree.order[1:], tree.order[tree.parent[1:]]
    assert torch.allclose(found[child, parent], tree.length[1:], rtol=1e-15, atol=0)
    assert torch.allclose(found, found.T, rtol=1e-13, atol=0)
    assert not found.diagonal().any()


@pytest.mark.parametrize("dim", DIMS)
def test_points_have_the_distances_as_far_as_coordinates_carry_them(dim: int) -> None:
    tree = random_tree(60)
    embedding = sarkar_embedding(tree, dim, tau=representable_tau(tree.height) / 3)
    points = embedding.points()
    assert embedding.manifold.check_point_on_manifold(points)
    distances = embedding.manifold.dist(points.unsqueeze(1), points)
    # a coordinate's last digit at radius 12.5, eps exp(12.5), grown by the depth of the tree
    assert torch.allclose(distances, all_distances(embedding), rtol=0, atol=1e-8)
    assert torch.equal(points[tree.order[0]], torch.zeros(dim, dtype=torch.float64))


def test_rows_in_any_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = sarkar_embedding(random_tree(50), tau=1.0)
    whole = all_distances(embedding)
    monkeypatch.setattr("isometry.models.constructions.sarkar._CHUNK", 100)
    assert torch.allclose(all_distances(embedding), whole, rtol=1e-15, atol=0)
    for nodes in (torch.tensor([7, 7, 0]), torch.arange(0)):
        assert torch.allclose(embedding.distances_from(nodes), whole[nodes], rtol=1e-15, atol=0)


def test_a_path_of_any_length_stays_exact() -> None:
    """A thousand edges of hyperbolic length 5: cosh of the whole is far beyond float64."""
    edges = torch.stack([torch.arange(1000), torch.arange(1, 1001)], 1)
    row = sarkar_embedding(Tree(edges, 1001), tau=5.0).distances_from(torch.tensor([0]))
    assert torch.allclose(row[0], torch.arange(1001.0, dtype=torch.float64), rtol=1e-14)


@pytest.mark.parametrize("num_nodes", [1, 2])
def test_the_smallest_trees(num_nodes: int) -> None:
    tree = Tree(torch.tensor([[0, 1]])[: num_nodes - 1], num_nodes)
    embedding = sarkar_embedding(tree, distortion=0.1)
    assert torch.allclose(all_distances(embedding), tree_distances(tree), rtol=1e-15)
    assert embedding.points().shape == (num_nodes, 2)


# --- the scale -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("distortion", [0.05, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_the_worst_distortion_is_what_was_asked_for(dim: int, distortion: float, seed: int) -> None:
    tree = random_tree(120, seed)
    embedding = sarkar_embedding(tree, dim, distortion=distortion)
    off = ~torch.eye(120, dtype=torch.bool)
    ratio = (all_distances(embedding) / tree_distances(tree))[off]
    assert 1 < ratio.max() / ratio.min() <= 1 + distortion
    less = (all_distances(sarkar_embedding(tree, dim, tau=embedding.tau / 20)) / tree_distances(tree))[off]
    assert less.max() / less.min() > 1 + distortion  # the rule asks for some ten times what these trees need


def test_siblings_are_farther_than_the_parent_from_a_known_scale_on() -> None:
    """With 405 directions, cosh^2 tau - sinh^2 tau cos(2 pi/405) = cosh tau at tau = 9.7182 (by hand)."""
    edges = torch.cat([torch.tensor([[0, 1]]), torch.stack([torch.ones(404).long(), torch.arange(2, 406)], 1)])
    tree = Tree(edges, 406)
    for tau, parent_first in ((9.70, False), (9.73, True)):
        row = sarkar_embedding(tree, tau=tau).distances_from(torch.tensor([2]))[0]
        assert (row[3:].min() > row[1]) == parent_first


def test_the_rule_for_tau_in_numbers() -> None:
    """Degree 4: theta = pi/2, beta = pi/4.8, alpha = pi/12."""
    nu, least = -2 * math.log(math.tan(math.pi / 9.6)), -2 * math.log(math.tan(math.pi / 24))
    assert sarkar_tau(4, 0.1) == pytest.approx(max(11 * nu, least))
    assert sarkar_tau(4, 100.0) == pytest.approx(least)
    assert sarkar_tau(4, 0.1, min_weight=0.5) == pytest.approx(2 * sarkar_tau(4, 0.1))
    assert sarkar_tau(400, 0.1, dim=10) < sarkar_tau(400, 0.1) / 3  # dimensions divide the logarithm of the degree


def test_precision_laws() -> None:
    assert representable_tau(1.0) == pytest.approx(37.4, abs=0.05)
    assert representable_tau(1.0, torch.float32) == pytest.approx(17.3, abs=0.05)
    assert coordinate_bits(100 * math.log(2)) == 200
    tree = star(3)
    inside = sarkar_embedding(tree, tau=0.999 * representable_tau(1.0)).points()
    assert torch.allclose(inside.norm(dim=1)[1:] * 0.999 * representable_tau(1.0), torch.ones(3).double())
    radius = 20.0  # at 2 radius/log 2 bits a distance is right to about one digit, at half of them it is lost
    with mpmath.workprec(400):
        x = mpmath.tanh(mpmath.mpf(radius) / 2)
        exact = disk_distance(x, -x)
    for bits, right in ((coordinate_bits(radius), True), (coordinate_bits(radius) // 2 - 4, False)):
        with mpmath.workprec(bits):
            rounded = +x
        with mpmath.workprec(400):
            assert (rounded < 1 and abs(disk_distance(rounded, -rounded) / exact - 1) < 0.1) == right


# --- bad input -----------------------------------------------------------------------------------------------


def test_scales_out_of_range_are_refused() -> None:
    tree = star(3)
    for options in ({}, {"tau": 1.0, "distortion": 0.1}):
        with pytest.raises(ValueError, match="either tau or distortion"):
            sarkar_embedding(tree, **options)
    for tau in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="positive, finite tau"):
            sarkar_embedding(tree, tau=tau)
    with pytest.raises(ValueError, match="distortion > 0"):
        sarkar_embedding(tree, distortion=0.0)
    with pytest.raises(ValueError, match="dim >= 2"):
        sarkar_embedding(tree, 1, tau=1.0)
    with pytest.raises(ValueError, match="positive height"):
        representable_tau(0.0)
