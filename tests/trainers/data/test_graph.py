import networkx as nx
import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from isometry.trainers.data import Graph


def random_graph(n: int, density: float, *, acyclic: bool = False) -> Graph:
    adjacency = torch.rand(n, n) < density
    adjacency.fill_diagonal_(False)
    return Graph((adjacency.tril() if acyclic else adjacency).nonzero(), n)


def as_networkx(graph: Graph) -> nx.DiGraph:
    g = nx.DiGraph(graph.edges.tolist())
    g.add_nodes_from(range(graph.num_nodes))
    return g


def test_edges_are_a_set() -> None:
    graph = Graph(torch.tensor([[2, 0], [0, 1], [2, 0]]), 3)
    assert graph.edges.tolist() == [[0, 1], [2, 0]]
    assert graph.offsets.tolist() == [0, 1, 1, 2]
    assert graph.names == ("0", "1", "2")


def test_nodes_are_numbered_by_name() -> None:
    graph = Graph.from_names([("dog", "animal"), ("cat", "animal")])
    assert graph.names == ("animal", "cat", "dog")
    assert graph.edges.tolist() == [[1, 0], [2, 0]]


@pytest.mark.parametrize("density", [0.02, 0.1, 0.6])
def test_transitive_closure_is_that_of_networkx(density: float) -> None:
    graph = random_graph(40, density, acyclic=True)
    expected = nx.transitive_closure_dag(as_networkx(graph)).edges
    assert {tuple(edge) for edge in graph.transitive_closure().edges.tolist()} == set(expected)


def test_a_cycle_has_no_closure() -> None:
    with pytest.raises(ValueError, match="without cycles, but 'a' is above itself"):
        Graph.from_names([("a", "b"), ("b", "c"), ("c", "a")]).transitive_closure()


def test_compose_is_the_boolean_matrix_product() -> None:
    first, second = (random_graph(30, 0.1, acyclic=True) for _ in range(2))
    a, b = (torch.zeros(30, 30).index_put(tuple(g.edges.t()), torch.ones(())) for g in (first, second))
    assert torch.equal(first.compose(second).edges, (a @ b).nonzero())


def test_union_symmetric_and_subgraph_are_those_of_networkx() -> None:
    first, second = random_graph(20, 0.1), random_graph(20, 0.1)
    g, h = as_networkx(first), as_networkx(second)
    assert first.union(second).edges.tolist() == sorted(map(list, nx.compose(g, h).edges))
    assert first.symmetric().edges.tolist() == sorted(map(list, g.to_undirected().to_directed().edges))
    keep = torch.rand(20) < 0.6
    kept = keep.nonzero().squeeze(1).tolist()
    sub = first.subgraph(keep)
    assert sub.names == tuple(map(str, kept))
    assert [[kept[u], kept[v]] for u, v in sub.edges.tolist()] == sorted(map(list, g.subgraph(kept).edges))


def test_successors_are_listed_in_order() -> None:
    graph = Graph(torch.tensor([[0, 1], [0, 2], [2, 1]]), 3)
    position, successor = graph.successors(torch.tensor([2, 1, 0, 2]))
    assert position.tolist() == [0, 2, 2, 3]
    assert successor.tolist() == [1, 1, 2, 1]


@pytest.mark.parametrize("density", [0.01, 0.05, 0.5])
def test_hop_distances_are_those_of_scipy(density: float) -> None:
    graph = random_graph(60, density)
    u, v = graph.edges.numpy().T
    matrix = coo_array((np.ones(len(u)), (u, v)), (60, 60)).tocsr()
    expected = shortest_path(matrix, directed=False, unweighted=True)
    nodes = torch.randperm(60)[:25]
    torch.testing.assert_close(graph.hop_distances(nodes), torch.from_numpy(expected[nodes]).float(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("edges", "names", "message"),
    [
        (torch.zeros(3, 3, dtype=torch.int64), (), r"expected int64 edges \[E, 2\], but got torch.int64 \[3, 3\]"),
        (torch.zeros(3, 2), (), "torch.float32"),
        (torch.tensor([[0, 5]]), (), "between nodes 0 to 2, but got 0 to 5"),
        (torch.tensor([[-1, 2]]), (), "got -1 to 2"),
        (torch.tensor([[1, 1]]), (), "node 1 is joined to itself"),
        (torch.tensor([[0, 1]]), ("a",), "expected 3 names, but got 1"),
    ],
)
def test_what_is_no_graph_is_refused(edges: torch.Tensor, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Graph(edges, 3, names)
