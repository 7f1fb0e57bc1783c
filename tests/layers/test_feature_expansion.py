import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv
from torch_geometric.utils import get_laplacian, to_dense_adj

from isometry.layers import FeatureExpansion
from isometry.layers.testing import LayerCase, LayerSuite

# A tree and a triangle, without symmetries; node 8 is alone.
PAIRS = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 1], [3, 4], [4, 5], [5, 6], [5, 7], [0, 2]]).T
EDGES = torch.cat([PAIRS, PAIRS.flip(0)], 1)
NODES = 9


def with_edges(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Add the graph, which all samples of a case share, to the arguments."""
    return (*arguments, EDGES)


def layer(hops: int, structural: int) -> FeatureExpansion:
    expansion = FeatureExpansion(hops, structural)
    expansion.register_forward_pre_hook(with_edges)
    return expansion


class TestFeatureExpansion(LayerSuite):
    cases = (
        LayerCase(lambda: layer(2, 0), lambda n: torch.randn(n, NODES, 3), (NODES, 9), name="hops"),
        LayerCase(lambda: layer(0, 4), lambda n: torch.randn(n, NODES, 3), (NODES, 7), name="structural"),
    )


def test_each_block_is_a_convolution_with_columns_of_length_1() -> None:
    torch.set_default_dtype(torch.float64)
    x = torch.randn(NODES, 3)
    peer = GCNConv(3, 3, bias=False)
    with torch.no_grad():
        peer.lin.weight.copy_(torch.eye(3))
        blocks = [x, peer(x, EDGES), peer(peer(x, EDGES), EDGES)]
    expected = torch.cat([block / block.norm(dim=0) for block in blocks], 1)
    assert torch.allclose(FeatureExpansion(2)(x, EDGES), expected, rtol=0, atol=1e-14)


def test_the_last_block_is_made_of_singular_vectors_of_the_laplacian() -> None:
    torch.set_default_dtype(torch.float64)
    x = torch.randn(NODES, 1)
    index, values = get_laplacian(EDGES, normalization="sym", num_nodes=NODES)
    laplacian = to_dense_adj(index, edge_attr=values, max_num_nodes=NODES)[0]
    laplacian[8, 8] = 1  # of a node without edges, whose row PyTorch Geometric leaves out
    u, _, _ = torch.linalg.svd(laplacian / laplacian.norm(dim=1, keepdim=True))
    ours = FeatureExpansion(0, 4)(x, EDGES)[:, 1:]
    for column, expected in zip(ours.T, u.T[:4], strict=True):
        assert torch.allclose(column, expected * (column @ expected).sign(), atol=1e-12)
        assert column[column.abs().argmax()] > 0


def test_it_follows_permutations() -> None:
    torch.set_default_dtype(torch.float64)
    expansion, x, order = FeatureExpansion(2, 3), torch.randn(NODES, 3), torch.randperm(NODES)
    moved = order.argsort()[EDGES]
    assert torch.allclose(expansion(x[order], moved), expansion(x, EDGES)[order], atol=1e-12)


def test_columns_of_zeros_and_graphs_without_edges_or_nodes() -> None:
    empty = torch.empty(2, 0, dtype=torch.int64)
    x = torch.zeros(4, 2)
    assert not FeatureExpansion(2)(x, EDGES[:, :0]).any()
    x[0, 0] = 2
    assert torch.equal(FeatureExpansion(1)(x, empty), torch.cat([x, x], 1) / 2)
    assert FeatureExpansion(1)(x[:0], empty).shape == (0, 4)


def test_the_number_of_columns() -> None:
    expansion = FeatureExpansion(3, 2)
    assert expansion(torch.randn(NODES, 5), EDGES).shape[1] == expansion.out_features(5) == 22


def test_bad_numbers() -> None:
    with pytest.raises(ValueError, match="expected hops and structural >= 0, but got -1 and 2"):
        FeatureExpansion(-1, 2)
    with pytest.raises(ValueError, match="expected at least 10 nodes, but got 9"):
        FeatureExpansion(1, 10)(torch.randn(NODES, 2), EDGES)
