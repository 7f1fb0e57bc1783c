import pytest
import torch
from torch import Tensor

from isometry.layers.hyperbolic import MultiheadAttention
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall, ShapeError
from isometry.manifolds.testing import assert_close_points
from tests.layers.clouds import cloud
from tests.layers.hyperbolic.models import C, ball_points, moved, near_flat, pair, to_lorentz


class TestMultiheadAttention(LayerSuite):
    cases = (
        *(
            LayerCase(
                lambda m=m: moved(MultiheadAttention(m, 2)),
                lambda n, m=m: cloud(m, n, 3),
                out_shape=(3, *m.point_shape),
                manifold_in=m,
                manifold_out=m if m.point_shape == (4,) and m != PoincareBall(4, C) else None,
                name=repr(m),
            )
            for m in (PoincareBall(4, C, learnable=True), Lorentz(4), Euclidean(4))
        ),
        LayerCase(
            lambda: moved(MultiheadAttention(Lorentz(4), 2)),
            lambda n: (
                cloud(Lorentz(4), n, 3),
                cloud(Lorentz(4), n, 2, seed=1),
                torch.tensor([[True, False], [True, True], [False, True]]).expand(n, 3, 2),
            ),
            out_shape=(3, 5),
            manifold_in=(Lorentz(4), Lorentz(4), None),
            manifold_out=Lorentz(4),
            name="context and mask",
        ),
    )


def by_definition(layer: MultiheadAttention, x: Tensor, context: Tensor) -> Tensor:
    """Head by head, query by query, by the manifold's own distance and centroid."""
    m, heads = layer.manifold, layer.num_heads
    small = m.with_dim(m.dim // heads)

    def made(points: Tensor, which: int) -> list[Tensor]:
        s = m.spatial(points)
        time = (1 + (0 if isinstance(m, Euclidean) else m.c) * s.square().sum(-1, keepdim=True)).sqrt()
        weight = torch.cat([layer.query.weight, layer.key_value.weight]).unflatten(0, (3, m.dim))[which]
        bias = torch.cat([layer.query.bias, layer.key_value.bias]).unflatten(0, (3, m.dim))[which]
        y = s @ weight.mT + time * bias
        return [small.from_spatial(part) for part in y.chunk(heads, -1)]

    results = []
    for q, k, v in zip(made(x, 0), made(context, 1), made(context, 2), strict=True):
        weights = (-small.dist2(q.unsqueeze(-2), k.unsqueeze(-3)) / small.dim**0.5).softmax(-1)
        results.append(small.spatial(small.centroid(v.unsqueeze(-3).expand(*weights.shape, v.shape[-1]), weights)))
    return layer.join(m.from_spatial(torch.cat(results, -1)))


@pytest.mark.parametrize("manifold", [PoincareBall(4, C), Lorentz(4, C), Euclidean(4)], ids=repr)
def test_it_is_the_definition(manifold: PoincareBall | Lorentz | Euclidean) -> None:
    layer = moved(MultiheadAttention(manifold, 2))
    x, context = cloud(manifold, 2, 3, spread=1.5), cloud(manifold, 2, 5, spread=1.5, seed=4)
    assert_close_points(manifold, layer(x, context), by_definition(layer, x, context), atol=1e-11)
    assert_close_points(manifold, layer(x), by_definition(layer, x, x), atol=1e-11)


def test_both_models_have_one_layer() -> None:
    ball, hyperboloid = pair(lambda m: MultiheadAttention(m, 2))
    x = ball_points(2, 5, radius=4.0)
    torch.testing.assert_close(to_lorentz(ball(x)), hyperboloid(to_lorentz(x)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("manifold", [PoincareBall(4, C), Lorentz(4, C), Euclidean(4)], ids=repr)
def test_isometries_carry_its_kernel_along(manifold: PoincareBall | Lorentz | Euclidean) -> None:
    """The weights depend on distances only, and centroids move with their points."""
    layer = MultiheadAttention(manifold, 1)
    g = manifold.random_isometry(torch.Generator().manual_seed(1), torch.float64)
    q, k, v = (cloud(manifold, 5, spread=2.0, seed=s) for s in range(3))

    def attended(*points: Tensor) -> Tensor:
        return manifold.from_spatial(layer._attended(*(manifold.spatial(p) for p in points), (None,)))

    moved_points = attended(*(manifold.act(g, p) for p in (q, k, v)))
    assert_close_points(manifold, moved_points, manifold.act(g, attended(q, k, v)), atol=1e-11)


def test_the_order_of_the_context_does_not_matter_and_masked_points_do_not_count() -> None:
    layer = moved(MultiheadAttention(Lorentz(4), 2))
    x, context = cloud(Lorentz(4), 2, 3), cloud(Lorentz(4), 2, 5, seed=2)
    order = torch.randperm(5)
    torch.testing.assert_close(layer(x, context[:, order]), layer(x, context), rtol=0, atol=1e-12)
    mask = torch.tensor([True, True, False, True, False]).expand(3, 5)
    torch.testing.assert_close(layer(x, context, mask), layer(x, context[:, [0, 1, 3]]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
def test_flat_space_is_the_limit(model: type) -> None:
    curved, flat = near_flat(lambda m: MultiheadAttention(m, 2), model)
    s = torch.randn(2, 5, 4, dtype=torch.float64)
    y = curved.manifold.spatial(curved(curved.manifold.from_spatial(s)))
    torch.testing.assert_close(y, flat(s), rtol=0, atol=1e-8)


@pytest.mark.parametrize("manifold", [PoincareBall(8), Lorentz(8)], ids=repr)
def test_float32_at_radius_15_is_float64s(manifold: PoincareBall | Lorentz) -> None:
    layer = MultiheadAttention(manifold, 2)
    u = 15 * torch.nn.functional.normalize(torch.randn(16, 8, dtype=torch.float64), dim=-1)
    origin = manifold.origin(*manifold.point_shape, dtype=torch.float64)
    x = manifold.expmap(origin, manifold.origin_vector(u)).float()
    y, exact = layer(x).double(), layer.double()(x.double())
    torch.testing.assert_close(manifold.dist(origin, y), manifold.dist(origin, exact), rtol=1e-2, atol=1e-2)


def test_bad_arguments() -> None:
    for heads in (0, 3):
        with pytest.raises(ValueError, match="num_heads that divides 4"):
            MultiheadAttention(Lorentz(4), heads)
    with pytest.raises(ShapeError, match="point ends in dimensions"):
        MultiheadAttention(Lorentz(4), 2)(torch.zeros(3, 5), torch.zeros(3, 4))
