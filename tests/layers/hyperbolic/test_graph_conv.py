import pytest
import torch
from torch import Tensor, nn

from isometry.layers.hyperbolic import GraphConv, Linear, LorentzLinear
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall, ShapeError
from isometry.manifolds.testing import assert_close_points
from tests.layers.clouds import cloud
from tests.layers.hyperbolic.models import C, ball_points, moved, near_flat, pair, to_lorentz

NODES = 6
EDGES = torch.tensor([[0, 1, 2, 2, 3, 4, 0, 4], [1, 0, 0, 1, 2, 3, 4, 0]])  # node 5 has no neighbour


def weights() -> Tensor:
    return torch.linspace(0.2, 2.0, EDGES.shape[1])


def with_graph(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Add the graph, which all samples of a case share, to the arguments."""
    (x,) = arguments
    return x, EDGES, weights().to(x.dtype)


def on_graph(conv: GraphConv) -> nn.Module:
    conv = moved(conv)
    conv.register_forward_pre_hook(with_graph)
    return conv


KINDS = [(a, b) for a in ("centroid", "tangent") for b in (False, True)]


class TestGraphConv(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m, kind=kind: on_graph(
                GraphConv(m.with_dim(2), Linear(m, m.with_dim(2)), aggregation=kind[0], attention=kind[1])
            ),
            lambda n, m=m: cloud(m, n, NODES),
            out_shape=(NODES, *m.with_dim(2).point_shape),
            manifold_in=m,
            manifold_out=None if m == Lorentz(3) or getattr(m, "learnable", False) else m.with_dim(2),
            name=f"{m!r}, {kind}",
        )
        for m in (PoincareBall(3, C, learnable=True), Lorentz(3), Euclidean(3))
        for kind in KINDS
    )


@pytest.mark.parametrize("kind", KINDS)
def test_both_models_have_one_layer(kind: tuple[str, bool]) -> None:
    ball, hyperboloid = pair(lambda m: GraphConv(m, LorentzLinear(m, m), aggregation=kind[0], attention=kind[1]))
    x = ball_points(NODES, radius=4.0)
    expected = to_lorentz(ball(x, EDGES, weights().double()))
    torch.testing.assert_close(hyperboloid(to_lorentz(x), EDGES, weights().double()), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("manifold", [PoincareBall(3, C), Lorentz(3, C), Euclidean(3)], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_definition(kind: tuple[str, bool], manifold: PoincareBall | Lorentz | Euclidean) -> None:
    """One node after the other, by the manifold's own maps."""
    conv = moved(GraphConv(manifold, nn.Identity(), aggregation=kind[0], attention=kind[1]))
    x, w = cloud(manifold, NODES, spread=2.0), weights().double()
    origin = manifold.origin(*manifold.point_shape, dtype=x.dtype)
    y = conv(x, EDGES, w)
    for i in range(NODES):
        into = EDGES[1] == i
        points = torch.cat([x[i : i + 1], x[EDGES[0, into]]])
        weight = torch.cat([w.new_ones(1), w[into]])
        if conv.log_rate is not None:
            weight = weight * (-conv.log_rate.exp() * manifold.dist2(x[i], points)).exp()
        logs = manifold.logmap(origin, points)
        tangent = manifold.expmap(origin, (weight / weight.sum()) @ logs)
        expected = manifold.centroid(points, weight) if kind[0] == "centroid" else tangent
        assert_close_points(manifold, y[i], expected, atol=1e-12)


@pytest.mark.parametrize("manifold", [PoincareBall(3, C), Lorentz(3, C), Euclidean(3)], ids=repr)
@pytest.mark.parametrize("attention", [False, True])
def test_isometries_carry_the_centroids_along(attention: bool, manifold: PoincareBall | Lorentz | Euclidean) -> None:
    conv = moved(GraphConv(manifold, nn.Identity(), attention=attention))
    g = manifold.random_isometry(torch.Generator().manual_seed(1), torch.float64)
    x, w = cloud(manifold, NODES, spread=2.0), weights().double()
    assert_close_points(manifold, conv(manifold.act(g, x), EDGES, w), manifold.act(g, conv(x, EDGES, w)), atol=1e-11)


@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
@pytest.mark.parametrize("kind", KINDS)
def test_flat_space_is_the_limit(kind: tuple[str, bool], model: type) -> None:
    curved, flat = near_flat(lambda m: GraphConv(m, Linear(m, m), aggregation=kind[0], attention=kind[1]), model)
    s = torch.randn(NODES, 4, dtype=torch.float64)
    y = curved.manifold.spatial(curved(curved.manifold.from_spatial(s), EDGES))
    torch.testing.assert_close(y, flat(s, EDGES), rtol=0, atol=1e-8)


def test_in_flat_space_it_is_pygs_convolution_by_means() -> None:
    from torch_geometric.nn import SimpleConv

    x = torch.randn(NODES, 3, dtype=torch.float64)
    expected = SimpleConv(aggr="mean", combine_root="self_loop")(x, EDGES)
    torch.testing.assert_close(GraphConv(Euclidean(3), nn.Identity())(x, EDGES), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("manifold", [PoincareBall(4), Lorentz(4)], ids=repr)
def test_float32_far_out_is_finite_and_right(manifold: PoincareBall | Lorentz) -> None:
    """Of points near each other at radius 16, of points all around, and of the same point."""
    origin = manifold.origin(*manifold.point_shape, dtype=torch.float64)
    direction = torch.nn.functional.normalize(torch.randn(NODES, 4, dtype=torch.float64), dim=-1)
    for spread in (0.0, 1e-3, 1.0):
        axis = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64) + spread * direction
        axis = axis / axis.norm(dim=-1, keepdim=True)
        x = manifold.expmap(origin, manifold.origin_vector(16 * axis)).float()
        y = GraphConv(manifold, nn.Identity())(x, EDGES).double()
        exact = GraphConv(manifold, nn.Identity())(x.double(), EDGES)
        assert y.isfinite().all()
        radius, expected = (manifold.dist(origin, p) for p in (y, exact))
        torch.testing.assert_close(radius, expected, rtol=0, atol=0.3)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match='expected aggregation "centroid" or "tangent"'):
        GraphConv(Lorentz(3), nn.Identity(), aggregation="mean")
    with pytest.raises(ShapeError, match="point ends in dimensions"):
        GraphConv(Lorentz(3), nn.Identity())(torch.zeros(NODES, 3), EDGES)
