import math

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from isometry.trainers.data import Graph, wordnet_mammals
from isometry.trainers.metrics import Reconstruction


def random_case(n: int = 40, *, ties: bool = False) -> tuple[Graph, Tensor]:
    """A graph whose nodes have from none to all but one of the others, and distances that are not symmetric."""
    related = torch.rand(n, n) < torch.linspace(0, 0.9, n).unsqueeze(1)
    related[-1] = True
    related[-1, 0] = False
    related.fill_diagonal_(False)
    distances = torch.rand(n, n).fill_diagonal_(0)
    return Graph(related.nonzero(), n), (distances * 6).round() if ties else distances


def evaluate(graph: Graph, distances: Tensor, nodes: Tensor, rows: int = 7) -> dict[str, float]:
    metric = Reconstruction(graph)
    for chunk in nodes.split(rows):
        metric.update(chunk, distances[chunk])
    return {name: float(value) for name, value in metric.compute().items()}


def by_definition(graph: Graph, distances: Tensor) -> tuple[list[float], list[list[int]]]:
    """Average precision by scikit-learn, and ranks by counting, of each node that has edges."""
    precisions, ranks = [], []
    for u in range(graph.num_nodes):
        positive = set(graph.edges[graph.edges[:, 0] == u, 1].tolist())
        if positive:
            others = [v for v in range(graph.num_nodes) if v != u]
            labels = [v in positive for v in others]
            precisions.append(average_precision_score(labels, -distances[u, others].numpy()))
            negative = [v for v in others if v not in positive]
            ranks.append([1 + sum(bool(distances[u, w] <= distances[u, v]) for w in negative) for v in positive])
    return precisions, ranks


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_those_of_scikit_learn_and_of_the_definition(ties: bool, dtype: torch.dtype) -> None:
    graph, distances = random_case(ties=ties)
    precisions, ranks = by_definition(graph, distances)
    flat = [rank for row in ranks for rank in row]
    values = evaluate(graph, distances.to(dtype), torch.randperm(40))
    assert values["map"] == pytest.approx(sum(precisions) / len(precisions), rel=1e-12)
    assert values["mean_rank"] == pytest.approx(sum(flat) / len(flat), rel=1e-12)
    assert values["map_error"] == values["mean_rank_error"] == 0


def test_perfect_and_collapsed_embeddings() -> None:
    graph = wordnet_mammals()
    related = torch.zeros(1180, 1180).index_put(tuple(graph.edges.t()), torch.ones(()))
    perfect = evaluate(graph, 2 - related, torch.arange(1180), rows=500)
    assert (perfect["map"], perfect["mean_rank"]) == (1, 1)
    collapsed = evaluate(graph, torch.zeros(1180, 1180), torch.arange(1180), rows=500)
    count = related.sum(1)
    assert collapsed["map"] == pytest.approx(float((count / 1179)[count > 0].double().mean()))
    assert collapsed["mean_rank"] == pytest.approx(float((count * (1180 - count)).sum() / count.sum()))


def test_an_increasing_function_of_the_distance_and_infinity_change_nothing() -> None:
    graph, distances = random_case()
    nodes = torch.arange(40)
    assert evaluate(graph, distances, nodes) == evaluate(graph, distances.double().exp(), nodes)
    far = distances.clone()
    far[distances >= distances.median()] = torch.inf
    assert evaluate(graph, far, nodes) == evaluate(graph, distances.clamp(max=distances.median()), nodes)


def test_the_standard_errors_are_those_of_random_samples() -> None:
    graph, distances = random_case(120)
    exact = evaluate(graph, distances, torch.arange(120))
    samples = [evaluate(graph, distances, 1 + torch.randperm(119)[:40], rows=40) for _ in range(400)]
    for name in ("map", "mean_rank"):
        values = torch.tensor([sample[name] for sample in samples])
        stated = math.sqrt(sum(sample[f"{name}_error"] ** 2 for sample in samples) / 400)
        assert abs(values.mean() - exact[name]) < 4 * values.std() / 400**0.5 + values.std() / 40  # a ratio has a bias
        assert 0.85 < stated / values.std() < 1.15  # the scatter of a standard deviation of 400 is 3.5 %


def test_processes_add_up() -> None:
    graph, distances = random_case()
    first, second = Reconstruction(graph), Reconstruction(graph)
    first.update(torch.arange(0, 40, 2), distances[::2])
    second.update(torch.arange(1, 40, 2), distances[1::2])
    second.update(torch.arange(0), distances[:0])  # a process may have no rows of the last item
    first.merge_state(second)
    assert {k: float(v) for k, v in first.compute().items()} == pytest.approx(
        evaluate(graph, distances, torch.arange(40)), rel=1e-12
    )


def test_bad_rows_are_named() -> None:
    graph, distances = random_case()
    metric = Reconstruction(graph)
    with pytest.raises(ValueError, match=r"expected distances \(3, 40\), but got \(3, 39\); is the graph"):
        metric.update(torch.arange(3), distances[:3, 1:])
    distances[2, 5] = torch.nan
    with pytest.raises(ValueError, match="a distance from node 2 is NaN"):
        metric.update(torch.arange(3), distances[:3])
    with pytest.raises(ValueError, match="no row of a node with edges"), pytest.warns(UserWarning, match="before"):
        Reconstruction(graph).compute()
