import pytest
import torch

from isometry.manifolds import Euclidean, Lorentz, Manifold, PoincareBall, Product, Sphere, named_manifolds
from isometry.models import NodeEmbedding

MANIFOLDS = [Euclidean(3), PoincareBall(3, c=0.37), Lorentz(3), Sphere(2), Product([PoincareBall(2), Sphere(2)])]


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_distances_are_those_of_the_manifold_one_by_one(manifold: Manifold) -> None:
    model = NodeEmbedding(12, manifold, init_scale=0.5, dtype=torch.float64)
    index = torch.randint(12, (4, 5))
    dist, rows, x = model(index), model.distances_from(index[:, 0]), model.nodes.weight
    assert dist.shape == (4, 4)
    assert rows.shape == (4, 12)
    for i, (u, *others) in enumerate(index.tolist()):
        for j, v in enumerate(others):
            assert dist[i, j].item() == pytest.approx(manifold.dist(x[u], x[v]).item(), rel=1e-14)
        for v in range(12):
            assert rows[i, v].item() == pytest.approx(manifold.dist(x[u], x[v]).item(), rel=1e-14)
        assert rows[i, u] == 0


def test_in_flat_space_distances_are_norms_of_differences() -> None:
    model = NodeEmbedding(12, Euclidean(3), init_scale=1.0, dtype=torch.float64)
    x = model.nodes.weight.detach()
    assert torch.allclose(model.distances_from(torch.arange(12)), torch.cdist(x, x), rtol=1e-14, atol=1e-7)


def test_a_nearly_flat_ball_has_twice_the_distances_of_its_coordinates() -> None:
    """The metric at the centre of the ball is 4 I; curvature changes a distance d by a factor 1 + O(c d^2)."""
    model = NodeEmbedding(12, PoincareBall(3, c=1e-10), init_scale=1.0, dtype=torch.float64)
    x = model.nodes.weight.detach()
    u, v = torch.triu_indices(12, 12, 1)
    dist = model(torch.stack([u, v], 1)).squeeze(1)
    assert torch.allclose(dist, 2 * (x[u] - x[v]).norm(dim=1), rtol=1e-9)


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_gradient(manifold: Manifold) -> None:
    model = NodeEmbedding(4, manifold, init_scale=0.5, sparse=False, dtype=torch.float64)
    index = torch.tensor([[0, 1, 2], [3, 0, 1]])
    weight = model.nodes.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda w: torch.func.functional_call(model, {"nodes.weight": w}, (index,)), weight, atol=1e-6, rtol=1e-5
    )


def test_a_node_is_at_distance_0_from_itself_and_has_no_gradient_from_it() -> None:
    model = NodeEmbedding(4, PoincareBall(2), init_scale=0.5, sparse=False)
    dist = model(torch.tensor([[1, 1]]))
    dist.sum().backward()
    assert dist.item() == 0
    assert model.nodes.weight.grad is not None
    assert torch.equal(model.nodes.weight.grad, torch.zeros(4, 2))


def test_it_knows_its_manifold() -> None:
    model = NodeEmbedding(4, Lorentz(2, learnable=True))
    assert named_manifolds(model) == {"nodes.weight": model.manifold}


def test_no_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one node, but got num_nodes=0"):
        NodeEmbedding(0, PoincareBall(2))
