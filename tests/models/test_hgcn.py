from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall, poincare_to_lorentz
from isometry.models import HGCN
from isometry.trainers.optim import RiemannianAdam
from tests.layers.hyperbolic.models import C, moved, near_flat, pair

NODES, FEATURES = 6, 5
EDGES = torch.tensor([[0, 1, 0, 2, 1, 3, 2, 4], [1, 0, 2, 0, 3, 1, 4, 2]])  # node 5 has no neighbour
KINDS = [("tangent", False), ("centroid", False), ("centroid", True)]


def with_graph(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (*arguments, EDGES)


def network(space: Any, kind: tuple[str, bool] = ("centroid", False), classes: int | None = None) -> HGCN:
    spaces = [space, space.with_dim(3)]
    return HGCN(FEATURES, spaces, classes, aggregation=kind[0], attention=kind[1], dropout=0.3)


def case(space: Any, kind: tuple[str, bool]) -> LayerCase:
    def make() -> nn.Module:
        net = moved(network(space, kind, classes=2)).eval()  # no feature starts where a ReLU has no derivative
        net.register_forward_pre_hook(with_graph)
        return net

    return LayerCase(make, lambda n: torch.randn(n, NODES, FEATURES), (NODES, 2), cond=512.0, name=f"{space!r}, {kind}")


class TestHGCN(LayerSuite):
    cases = tuple(
        case(space, kind)
        for space, kind in [
            (PoincareBall(4, C, learnable=True), KINDS[0]),
            (PoincareBall(4, C), KINDS[2]),
            (Lorentz(4), KINDS[1]),
            (Euclidean(4), KINDS[0]),
        ]
    )


def features() -> Tensor:
    return torch.randn(NODES, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_both_models_have_one_network(kind: tuple[str, bool]) -> None:
    ball, hyperboloid = (net.eval() for net in pair(lambda m: network(m, kind)))
    expected = poincare_to_lorentz(ball(features(), EDGES), C)
    torch.testing.assert_close(hyperboloid(features(), EDGES), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_curvature_zero_is_the_flat_network(kind: tuple[str, bool]) -> None:
    curved, flat = (net.eval() for net in near_flat(lambda m: network(m, kind), Lorentz))
    found = curved.manifold.spatial(curved(features(), EDGES))  # type: ignore[operator, union-attr]
    torch.testing.assert_close(found, flat(features(), EDGES), rtol=1e-7, atol=1e-7)


def test_the_flat_network_is_pygs_mean_over_neighbours() -> None:
    net: Any = moved(network(Euclidean(4))).eval()
    loops = torch.arange(NODES).expand(2, -1)
    x = features()
    for conv in net.convs:
        peer = SAGEConv(*conv.linear.weight.shape[::-1], aggr="mean", root_weight=False).double()
        peer.lin_l.load_state_dict({"weight": conv.linear.weight, "bias": conv.linear.bias})
        x = peer(x, torch.cat([EDGES, loops], 1)).relu()
    torch.testing.assert_close(net(features(), EDGES), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_nodes_do_not_matter(kind: tuple[str, bool]) -> None:
    net = moved(network(PoincareBall(4, C), kind)).eval()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    permuted = net(features()[order], order.argsort()[EDGES])
    torch.testing.assert_close(permuted, net(features(), EDGES)[order], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_each_curvature_moves(kind: tuple[str, bool]) -> None:
    torch.manual_seed(0)
    spaces = [PoincareBall(8, learnable=True), Lorentz(8, learnable=True)]
    net = HGCN(NODES, spaces, 3, aggregation=kind[0], attention=kind[1])
    optimizer = RiemannianAdam(net, lr=0.02)
    losses = []
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    for _ in range(80):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(torch.eye(NODES), EDGES), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert all(float(space.c) != 1 for space in spaces)


def test_settings_that_make_no_network_are_refused() -> None:
    with pytest.raises(ValueError, match="HGCN: expected at least one space, but got none"):
        HGCN(FEATURES, [])
    with pytest.raises(ValueError, match='expected aggregation "centroid" or "tangent", but got'):
        HGCN(FEATURES, [Euclidean(2)], aggregation="sum")
