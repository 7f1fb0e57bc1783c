import networkx as nx
import pytest
import torch

from isometry.trainers.data import Graph
from isometry.trainers.plots._hierarchy import Hierarchy

# 0 is above 1 and 2; 1 above 3, 4, 5; 2 above 6; and 6 also below 5
TREE = torch.tensor([(1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2), (6, 5)])


@pytest.mark.parametrize("closed", [False, True])
def test_direct_edges_are_the_transitive_reduction(closed):
    order = torch.randperm(40)
    pairs = torch.combinations(torch.arange(40))
    edges = order[pairs[torch.rand(len(pairs)) < 0.2]]
    dag = nx.DiGraph(edges.tolist())
    graph = Graph(edges, 40)
    found = Hierarchy(graph.transitive_closure() if closed else graph).edges
    assert set(map(tuple, found.tolist())) == set(nx.transitive_reduction(dag).edges)


def test_sizes_count_the_nodes_below():
    assert Hierarchy(Graph(TREE, 7)).sizes.tolist() == [7, 5, 2, 1, 1, 2, 1]


def test_landmarks_leave_out_a_parent_of_one_child():
    chain = torch.tensor([(1, 0), (2, 1)] + [(i, 2) for i in range(3, 20)])  # 18 of the 19 below 1 are below 2
    assert Hierarchy(Graph(chain, 20)).landmarks() == [0, 2, *range(3, 20)]


def test_branches_are_the_largest_subtrees_of_at_most_a_third():
    # of 9 nodes at most 3: 5 (with 6) and 2 (with 6, 7, 8 it has 4, too many)
    edges = torch.cat([TREE, torch.tensor([(7, 2), (8, 7)])])
    assert Hierarchy(Graph(edges, 9)).branches(2) == [None, None, None, None, None, 0, 0, 1, 1]


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="without cycles"):
        Hierarchy(Graph(torch.tensor([(0, 1), (1, 2), (2, 0)]), 3))
