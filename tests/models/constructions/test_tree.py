"""Trees, spanning trees and directions."""

import math

import networkx
import pytest
import torch

from isometry.models.constructions import Tree, spanning_tree
from isometry.models.constructions.directions import least_angle, separated_directions
from isometry.trainers.data import balanced_tree
from tests.models.constructions.trees import random_tree, tree_distances

CYCLE = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 0]])


def test_places_are_breadth_first() -> None:
    tree = random_tree(300, root=17)
    assert tree.order[0] == 17
    assert torch.equal(tree.order[tree.place], torch.arange(300))
    assert (tree.parent.diff() >= 0).all()
    depth = {17: 0}
    for number, level in enumerate(tree.levels):
        for place in level:
            node, parent = int(tree.order[place]), int(tree.order[tree.parent[place]])
            depth.setdefault(node, depth[parent] + 1)
            assert depth[node] == number
    distances = tree_distances(tree)
    assert tree.height == pytest.approx(float(distances[17].max()))
    degree = (distances < 1.5).sum(1) - 1
    graph = networkx.Graph(torch.stack([tree.order, tree.order[tree.parent]], 1)[1:].tolist())
    assert tree.max_degree == max(dict(graph.degree).values()) <= int(degree.max())


def test_an_edge_may_be_given_in_both_directions() -> None:
    graph = balanced_tree(3, 3)
    once, twice = Tree(graph.edges, 40), Tree(graph.symmetric().edges, 40)
    assert torch.equal(once.order, twice.order)
    assert torch.equal(once.length, twice.length)


@pytest.mark.parametrize("seed", range(3))
def test_a_spanning_tree_keeps_the_numbers_of_edges_to_the_root(seed: int) -> None:
    graph = networkx.connected_watts_strogatz_graph(80, 4, 0.3, seed=seed)
    edges = torch.tensor(list(graph.edges))
    weights = torch.rand(len(edges)) + 0.1
    tree = spanning_tree(edges, 80, weights, root=5)
    hops = networkx.single_source_shortest_path_length(graph, 5)
    length = {frozenset(e): w for e, w in zip(edges.tolist(), weights.tolist(), strict=True)}
    for number, level in enumerate(tree.levels):
        for place in level:
            node, parent = int(tree.order[place]), int(tree.order[tree.parent[place]])
            assert hops[node] == number
            if number:
                assert tree.length[place].item() == pytest.approx(length[frozenset((node, parent))])


def test_what_is_no_tree_is_refused() -> None:
    with pytest.raises(
        ValueError, match="expected the 3 edges of a tree with 4 nodes, but got 4, which close cycles; spa"
    ):
        Tree(CYCLE, 4)
    for build in (Tree, spanning_tree):
        with pytest.raises(ValueError, match=r"no path leads from node 0 to node 3 \(2 such nodes\)"):
            build(torch.tensor([[0, 1], [1, 2], [3, 4]]), 5)
    with pytest.raises(ValueError, match="no path leads from node 0 to node 3"):
        Tree(torch.tensor([[0, 1], [1, 2], [2, 0]]), 4)
    assert spanning_tree(CYCLE, 4).num_nodes == 4


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_weights_that_are_no_lengths_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=r"expected positive, finite weights, but edge \[1, 2\] has"):
        spanning_tree(CYCLE, 4, torch.tensor([1.0, weight, 1.0, 1.0]))


def test_edges_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="node 2 is joined to itself"):
        Tree(torch.tensor([[0, 1], [2, 2]]), 3)
    with pytest.raises(ValueError, match="nodes 0 to 2, but got 0 to 3"):
        Tree(CYCLE, 3)
    with pytest.raises(ValueError, match="int64"):
        Tree(CYCLE.int(), 4)
    with pytest.raises(ValueError, match=r"edge \[0, 1\] is given twice, with different weights"):
        Tree(torch.tensor([[0, 1], [1, 0]]), 2, torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="expected a root from 0 to 1, but got 2"):
        Tree(torch.tensor([[0, 1]]), 2, root=2)


@pytest.mark.parametrize(
    ("count", "dim"), [(1, 3), (2, 3), (8, 3), (30, 3), (405, 3), (405, 4), (5, 6), (405, 10), (7, 7)]
)
def test_directions_are_unit_vectors_far_apart(count: int, dim: int) -> None:
    directions = separated_directions(count, dim)
    assert directions.shape == (count, dim)
    assert torch.allclose(directions.norm(dim=1), torch.ones(count, dtype=torch.float64), rtol=1e-15)
    if count > 1:
        # a sphere holds at most about (4/angle)^(dim - 1) caps; half of the angle of that bound is reached
        assert least_angle(directions) > min(math.pi / 2, 4 * count ** (-1 / (dim - 1))) / 2


def test_the_simplex_code_is_at_right_angles_or_more() -> None:
    """Seven columns are all of three bits: any two of the eight words differ in exactly four places."""
    gram = 7 * separated_directions(8, 7) @ separated_directions(8, 7).T
    expected = torch.full((8, 8), -1.0, dtype=torch.float64).fill_diagonal_(7)
    assert torch.allclose(gram, expected)


def test_directions_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="count >= 1 and dim >= 2"):
        separated_directions(0, 3)
