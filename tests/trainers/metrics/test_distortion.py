import pytest
import torch

from isometry.trainers.data import Graph
from isometry.trainers.metrics import Distortion

PATH = Graph(torch.tensor([[0, 1], [2, 1], [2, 3]]), 4)  # 0 - 1 - 2 - 3
HOPS = (torch.arange(4.0).unsqueeze(1) - torch.arange(4)).abs()


def evaluate(graph: Graph, distances: torch.Tensor, rows: int = 4) -> tuple[float, float]:
    metric = Distortion(graph)
    for nodes in torch.arange(graph.num_nodes).split(rows):
        metric.update(nodes, distances[nodes])
    average, worst = metric.compute().values()
    return float(average), float(worst)


def test_an_isometry_and_its_scalings() -> None:
    assert evaluate(PATH, HOPS) == (0, 1)
    assert evaluate(PATH, 3 * HOPS) == (2, 1)


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_path_bent_to_a_circle(rows: int) -> None:
    # the square: ends of the path 1 apart, the diagonals sqrt(2); pairs at 1, 1, 1, 2, 2, 3 hops
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    average, worst = evaluate(PATH, torch.cdist(square, square), rows)
    assert average == pytest.approx((2 * (1 - 2**0.5 / 2) + 2 / 3) / 6, rel=1e-6)
    assert worst == pytest.approx(3, rel=1e-6)


def test_pairs_without_a_path_are_left_out() -> None:
    two = Graph(torch.tensor([[0, 1], [2, 3]]), 5)
    distances = torch.full((5, 5), 7.0)
    distances[0, 1] = distances[1, 0] = distances[2, 3] = distances[3, 2] = 2
    assert evaluate(two, distances) == (1, 1)


def test_nodes_that_coincide_are_the_worst() -> None:
    assert (
        evaluate(PATH, torch.zeros(4, 4).index_put((torch.tensor(0), torch.tensor(1)), torch.ones(())))[1] == torch.inf
    )


def test_processes_add_up() -> None:
    distances = torch.rand(4, 4)
    first, second = Distortion(PATH), Distortion(PATH)
    first.update(torch.tensor([0, 2]), distances[[0, 2]])
    second.update(torch.tensor([3, 1]), distances[[3, 1]])
    second.update(torch.arange(0), distances[:0])
    first.merge_state(second)
    assert [float(value) for value in first.compute().values()] == pytest.approx(evaluate(PATH, distances))


def test_no_pair_is_no_value() -> None:
    metric = Distortion(Graph(torch.tensor([[0, 1]]), 3))
    metric.update(torch.tensor([2]), torch.ones(1, 3))
    with pytest.raises(ValueError, match="joined to another"):
        metric.compute()
