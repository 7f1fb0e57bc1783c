import pytest
import torch
from torch_geometric.utils import add_self_loops, to_dense_adj

from isometry.manifolds import Euclidean, Lorentz, PoincareBall
from isometry.models import SegHGNN

EDGES = torch.tensor([[0, 1, 1, 2, 3, 2], [1, 0, 2, 1, 2, 3]])
WEIGHTS = torch.tensor([0.5, 0.5, 0.1, 0.1, 0.9, 0.9], dtype=torch.float64)


def model(manifold: PoincareBall | Lorentz | Euclidean) -> SegHGNN:
    torch.manual_seed(1)
    return SegHGNN(6, manifold, 3).double()


def test_it_has_fewer_than_7500_parameters() -> None:
    assert sum(p.numel() for p in SegHGNN(384, Lorentz(10)).parameters()) == 3982


def test_both_models_agree_and_flat_space_is_their_limit() -> None:
    x = torch.randn(4, 6, dtype=torch.float64)
    ball, hyperboloid, flat = (
        model(m)(x, EDGES, WEIGHTS) for m in (PoincareBall(5, 0.7), Lorentz(5, 0.7), Euclidean(5))
    )
    torch.testing.assert_close(ball, hyperboloid)
    torch.testing.assert_close(model(Lorentz(5, 1e-10))(x, EDGES, WEIGHTS), flat, rtol=1e-6, atol=1e-6)
    assert (flat - ball).abs().max() > 1e-3


def test_flat_it_is_a_mean_over_neighbours_and_linear_layers() -> None:
    """Aggregated by the matrix of torch_geometric."""
    net, x = model(Euclidean(5)), torch.randn(4, 6, dtype=torch.float64)
    edges, weights = add_self_loops(EDGES, WEIGHTS, fill_value=1.0)
    matrix = to_dense_adj(edges.flip(0), edge_attr=weights)[0]
    means = matrix @ net.conv.linear(net.points(x)) / matrix.sum(1, keepdim=True)
    torch.testing.assert_close(net(x, EDGES, WEIGHTS), net.classifier(means))


def test_an_order_of_patches_does_not_matter() -> None:
    net, x, order = model(Lorentz(5)), torch.randn(4, 6, dtype=torch.float64), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(net(x[order], order.argsort()[EDGES], WEIGHTS), net(x, EDGES, WEIGHTS)[order])


def test_derivatives_are_finite() -> None:
    net, x = model(Lorentz(5)), torch.zeros(4, 6, dtype=torch.float64)
    net(x, EDGES, WEIGHTS).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="SegHGNN: expected at least 2 segments, but got num_segments=1"):
        SegHGNN(6, Lorentz(5), 1)
