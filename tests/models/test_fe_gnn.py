import pytest
import torch
from torch import Tensor, nn

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.models import FEGNN
from tests.layers.test_feature_expansion import EDGES, NODES, with_edges


def network(structural: int) -> FEGNN:
    model = FEGNN(4, 6, 3, hops=2, structural=structural)
    model.register_forward_pre_hook(with_edges)
    return model


class TestFEGNN(LayerSuite):
    cases = tuple(
        LayerCase(lambda s=s: network(s), lambda n: torch.randn(n, NODES, 4), (NODES, 3), 256.0, name=f"FEGNN {s}")  # type: ignore[misc]
        for s in (0, 3)
    )


def test_it_is_a_sum_of_powers_with_weights_of_their_own() -> None:
    torch.set_default_dtype(torch.float64)
    model, x = FEGNN(4, 6, 3, hops=2, structural=3), torch.randn(NODES, 4)
    adjacency = torch.zeros(NODES, NODES).index_put((EDGES[0], EDGES[1]), torch.ones(())) + torch.eye(NODES)
    root = adjacency.sum(1).rsqrt()
    P = root[:, None] * adjacency * root
    first, last = model.head[0], model.head[2]

    def unit(block: Tensor) -> Tensor:
        return block / block.norm(dim=0)

    w = first.weight.T.split([4, 4, 4, 3])
    structure = model.expansion(x, EDGES)[:, 12:]
    z = unit(x) @ w[0] + unit(P @ x) @ w[1] + unit(P @ P @ x) @ w[2] + structure @ w[3] + first.bias
    assert torch.allclose(model(x, EDGES), z @ last.weight.T + last.bias, atol=1e-13)


def test_the_head_on_features_expanded_once_is_the_network() -> None:
    model, x = FEGNN(4, 6, 3, hops=1, structural=2).eval(), torch.randn(NODES, 4)
    features = model.expansion(x, EDGES)
    assert torch.equal(model.head(features), model(x, EDGES))
    assert torch.allclose(model.head(features[2:4]), model(x, EDGES)[2:4], atol=1e-6)
    assert not list(model.expansion.parameters())


def test_it_learns_every_node_by_heart() -> None:
    model, x, labels = FEGNN(4, 16, 3, hops=2, structural=6), torch.randn(NODES, 4), torch.arange(NODES) % 3
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x, EDGES), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="expected hops and structural >= 0"):
        FEGNN(4, 6, 3, hops=-1)
