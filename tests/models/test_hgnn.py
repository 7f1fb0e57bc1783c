import torch
from torch import Tensor, nn

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.models import HGNN
from isometry.trainers.optim import RiemannianAdam

NODES = 8
INDEX = torch.tensor([[0, 1, 2, 2, 3, 4, 5, 6, 7, 0], [0, 0, 0, 1, 1, 2, 2, 3, 3, 3]])


def with_hypergraph(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Add the hypergraph, which all samples of a case share, to the arguments."""
    return (*arguments, INDEX, torch.ones(4, dtype=arguments[0].dtype))


def network() -> HGNN:
    model = HGNN(5, 6, 3).eval()
    model.register_forward_pre_hook(with_hypergraph)
    return model


class TestHGNN(LayerSuite):
    cases = (LayerCase(network, lambda n: torch.randn(n, NODES, 5), (NODES, 3), cond=256.0, name="HGNN"),)


def test_it_learns_the_classes_of_nodes_and_tells_those_that_it_was_not_told() -> None:
    """Four hyperedges of which each has a class; one labelled node of each."""
    nodes = torch.arange(40)
    index = torch.stack([nodes, nodes // 10])
    model = HGNN(40, 16, 4, dropout=0.0)
    optimizer = RiemannianAdam(model, lr=0.05)
    told = torch.tensor([3, 14, 27, 38])
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(torch.eye(40), index)[told], told // 10)
        loss.backward()
        optimizer.step()
    assert loss < 0.01
    assert torch.equal(model(torch.eye(40), index).argmax(1), nodes // 10)


def test_hidden_features_are_left_out_in_training_only() -> None:
    model, x = HGNN(5, 64, 3, dropout=0.5), torch.randn(NODES, 5)
    assert not torch.equal(model(x, INDEX), model(x, INDEX))
    model.eval()
    assert torch.equal(model(x, INDEX), model(x, INDEX))
