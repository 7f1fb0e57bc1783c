import pytest
import torch
from torch import Tensor, nn

from isometry.layers import HypergraphConv, knn_hypergraph
from isometry.layers.testing import LayerCase, LayerSuite

NODES, HYPEREDGES = 6, 4
INDEX = torch.tensor([[0, 1, 2, 2, 3, 4, 0, 4], [0, 0, 0, 1, 1, 1, 2, 3]])  # node 5 is in none


def weights() -> Tensor:
    return torch.tensor([0.5, 2.0, 1.0, 3.0])


def degrees() -> Tensor:
    return torch.linspace(0.2, 1.0, INDEX.shape[1])


def with_hypergraph(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Add the hypergraph, which all samples of a case share, to the arguments."""
    (x,) = arguments
    return x, INDEX, weights().to(x.dtype), degrees().to(x.dtype)


def layer(**options: bool) -> HypergraphConv:
    conv = HypergraphConv(3, 2, **options)
    conv.register_forward_pre_hook(with_hypergraph)
    return conv


class TestHypergraphConv(LayerSuite):
    cases = (
        LayerCase(layer, lambda n: torch.randn(n, NODES, 3), (NODES, 2), name="with bias"),
        LayerCase(lambda: layer(bias=False), lambda n: torch.randn(n, NODES, 3), (NODES, 2), name="without"),
    )


def by_definition(x: Tensor, theta: Tensor, index: Tensor, w: Tensor, values: Tensor) -> Tensor:
    """The formula with dense matrices, in which 1/0 is 0."""
    H = torch.zeros(x.shape[-2], len(w), dtype=x.dtype)
    H[index[0], index[1]] = values
    node_degree, edge_degree = H @ w, H.sum(0)
    root = torch.diag(torch.where(node_degree > 0, node_degree**-0.5, 0.0))
    inverse = torch.diag(torch.where(edge_degree > 0, 1 / edge_degree, 0.0))
    return root @ H @ torch.diag(w) @ inverse @ H.T @ root @ x @ theta


def test_it_is_the_formula() -> None:
    torch.set_default_dtype(torch.float64)
    conv, x = HypergraphConv(3, 2, bias=False), torch.randn(NODES, 3)
    for w, values in ((weights(), degrees()), (torch.ones(HYPEREDGES), torch.ones(INDEX.shape[1]))):
        expected = by_definition(x, conv.linear.weight.T, INDEX, w, values)
        assert torch.allclose(conv(x, INDEX, w, values), expected, rtol=0, atol=1e-14)
    assert torch.allclose(conv(x, INDEX), expected, rtol=0, atol=1e-14)  # weights and degrees are 1 by default


def test_weights_act_on_the_messages_and_not_on_the_degrees_alone() -> None:
    """Two hyperedges of node 0: the heavier one tells it more. (By PyTorch Geometric's layer they tell it the same.)"""
    index = torch.tensor([[0, 1, 0, 2], [0, 0, 1, 1]])
    conv = HypergraphConv(1, 1, bias=False)
    with torch.no_grad():
        conv.linear.weight.fill_(1)
    x = torch.eye(3)[..., None]  # one sample for each source
    heard = conv(x, index, torch.tensor([4.0, 1.0]))[:, 0, 0]
    assert heard[1] > 1.9 * heard[2]


def test_a_node_in_no_hyperedge_receives_the_bias_and_an_empty_hyperedge_tells_nothing() -> None:
    conv, x = HypergraphConv(3, 2), torch.randn(NODES, 3)
    with torch.no_grad():
        conv.bias.copy_(torch.tensor([1.0, -2.0]))
    w = torch.ones(HYPEREDGES + 2, requires_grad=True)
    y = conv(x, INDEX, w)
    assert torch.equal(y[5], conv.bias)
    (gradient,) = torch.autograd.grad(y.sum(), w)
    assert gradient.isfinite().all()
    assert not gradient[HYPEREDGES:].any()


def test_without_hyperedges_only_the_bias_remains() -> None:
    conv = HypergraphConv(3, 2)
    empty = torch.empty(2, 0, dtype=torch.int64)
    assert torch.equal(conv(torch.randn(4, 3), empty), conv.bias.expand(4, 2))
    assert conv(torch.randn(0, 3), empty).shape == (0, 2)


def test_the_operator_is_symmetric_and_contracts() -> None:
    """So that the Laplacian, 1 minus it, is positive semidefinite."""
    torch.set_default_dtype(torch.float64)
    n, m = 30, 40
    index = (torch.rand(n, m) < 0.1).nonzero().T
    conv = HypergraphConv(n, n, bias=False)
    with torch.no_grad():
        conv.linear.weight.copy_(torch.eye(n))
    operator = conv(torch.eye(n), index, torch.rand(m), torch.rand(index.shape[1])).detach()
    assert torch.allclose(operator, operator.T, atol=1e-14)
    values = torch.linalg.eigvalsh(operator)
    assert values.min() > -1e-12
    assert values.max().item() == pytest.approx(1, abs=1e-12)


def test_it_follows_permutations() -> None:
    torch.set_default_dtype(torch.float64)
    conv, x, order = HypergraphConv(3, 2), torch.randn(NODES, 3), torch.randperm(NODES)
    place = order.argsort()  # where a node went
    moved = torch.stack([place[INDEX[0]], INDEX[1]])
    assert torch.allclose(conv(x[order], moved, weights(), degrees()), conv(x, INDEX, weights(), degrees())[order])
    shuffle = torch.randperm(INDEX.shape[1])
    shuffled = conv(x, INDEX[:, shuffle], weights(), degrees()[shuffle])
    assert torch.allclose(shuffled, conv(x, INDEX, weights(), degrees()))


def test_derivatives_in_weights_and_degrees() -> None:
    torch.set_default_dtype(torch.float64)
    conv, x = HypergraphConv(3, 2), torch.randn(NODES, 3)
    values = (weights().requires_grad_(), degrees().requires_grad_())
    torch.autograd.gradcheck(lambda w, h: conv(x, INDEX, w, h), values)
    torch.autograd.gradgradcheck(lambda w, h: conv(x, INDEX, w, h), values)


# --- nearest neighbours ---------------------------------------------------------------------------------------


def test_nearest_neighbours_by_definition() -> None:
    torch.set_default_dtype(torch.float64)
    x = torch.randn(7, 2)
    index, values = knn_hypergraph(x, 3)
    assert index.shape == (2, 21)
    for e in range(7):
        distance = (x - x[e]).norm(dim=1)
        nearest = distance.argsort()[:3]
        members = index[0, index[1] == e]
        assert sorted(members.tolist()) == sorted(nearest.tolist())
        expected = torch.exp(-((distance[members] / distance.mean()) ** 2))
        assert torch.allclose(values[index[1] == e], expected, atol=1e-14)


def test_copies_of_a_point_belong_to_their_own_hyperedges() -> None:
    index, values = knn_hypergraph(torch.zeros(5, 2), 2)
    for e in range(5):
        assert e in index[0, index[1] == e]
    assert torch.equal(values, torch.ones(10))


def test_degrees_have_finite_derivatives() -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [3.0, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(knn_hypergraph(x, 3)[1].sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("k", [0, 5])
def test_too_few_nodes(k: int) -> None:
    with pytest.raises(ValueError, match=f"expected k from 1 to the number of nodes 4, but got {k}"):
        knn_hypergraph(torch.randn(4, 2), k)


# --- peers ----------------------------------------------------------------------------------------------------


@pytest.mark.peers
def test_deep_hypergraph_agrees() -> None:
    from dhg import Hypergraph

    torch.set_default_dtype(torch.float64)
    n, m = 40, 25
    members = [torch.randperm(n)[: 2 + i % 5].tolist() for i in range(m)]
    w = torch.rand(m) + 0.1
    x = torch.randn(n, 3)
    peer = Hypergraph(n, members, e_weight=w.tolist(), merge_op="sum")
    edges = peer.e[0]
    index = torch.tensor([(node, e) for e, nodes in enumerate(edges) for node in nodes]).T
    conv = HypergraphConv(3, 3, bias=False)
    with torch.no_grad():
        conv.linear.weight.copy_(torch.eye(3))
    ours = conv(x, index, torch.tensor(peer.e[1]))
    assert torch.allclose(ours, peer.smoothing_with_HGNN(x), rtol=0, atol=1e-12)


@pytest.mark.peers
def test_pytorch_geometric_leaves_the_weights_out_of_the_messages() -> None:
    """Its result differs for weights that are not equal, and is that of rows, not of the symmetric operator."""
    from torch_geometric.nn import HypergraphConv as Peer

    torch.set_default_dtype(torch.float64)
    peer, conv, x = Peer(3, 2, bias=False), HypergraphConv(3, 2, bias=False), torch.randn(NODES, 3)
    with torch.no_grad():
        conv.linear.weight.copy_(peer.lin.weight)
    theirs = peer(x, INDEX, weights())
    assert (theirs - conv(x, INDEX, weights())).abs().max() > 0.01
    H = torch.zeros(NODES, HYPEREDGES)
    H[INDEX[0], INDEX[1]] = 1
    node_degree, edge_degree = H @ weights(), H.sum(0)
    unweighted = H @ torch.diag(1 / edge_degree) @ H.T @ x @ peer.lin.weight.T
    rows = torch.where(node_degree > 0, 1 / node_degree, 0.0)[:, None] * unweighted
    assert torch.allclose(theirs, rows, atol=1e-12)
