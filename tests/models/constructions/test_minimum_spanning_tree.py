import networkx as nx
import pytest
import torch
from scipy.sparse.csgraph import minimum_spanning_tree as scipy_tree
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from isometry.models.constructions import minimum_spanning_tree


def distances(n: int) -> Tensor:
    return torch.from_numpy(squareform(pdist(torch.randn(n, 3, dtype=torch.float64).numpy())))


@pytest.mark.parametrize("n", [2, 3, 40])
def test_it_is_the_tree_of_scipy_and_networkx(n: int) -> None:
    d = distances(n)
    edges = {frozenset(edge) for edge in minimum_spanning_tree(d).tolist()}
    assert edges == {frozenset(map(int, edge)) for edge in zip(*scipy_tree(d.numpy()).nonzero(), strict=True)}
    assert edges == {frozenset(edge) for edge in nx.minimum_spanning_tree(nx.from_numpy_array(d.numpy())).edges}


def test_each_edge_adds_a_point() -> None:
    joined = {0}
    for old, new in minimum_spanning_tree(distances(30)).tolist():
        assert old in joined
        assert new not in joined
        joined.add(new)
    assert joined == set(range(30))


def test_equal_points_and_single_ones() -> None:
    assert minimum_spanning_tree(torch.zeros(1, 1)).shape == (0, 2)
    assert minimum_spanning_tree(torch.zeros(0, 0)).shape == (0, 2)
    d = distances(10).repeat(2, 2)
    edges = minimum_spanning_tree(d)
    assert len(edges) == 19
    assert nx.is_tree(nx.Graph(edges.tolist()))
    assert d[edges[:, 0], edges[:, 1]].sum().item() == pytest.approx(scipy_tree(d[:10, :10].numpy()).sum())


def test_what_is_no_matrix_of_distances_is_told() -> None:
    with pytest.raises(ValueError, match="minimum_spanning_tree: expected a symmetric matrix"):
        minimum_spanning_tree(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
