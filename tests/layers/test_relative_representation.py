import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances
from torch import Tensor, nn

from isometry.layers import RelativeCosines, RelativeDistances, RelativeProduct
from isometry.layers.hyperbolic import ToHyperbolic
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall, ShapeError, SPDAffineInvariant, Sphere
from tests.layers.clouds import cloud


class ToFixedAnchors(nn.Module):
    def __init__(self, layer: nn.Module, anchors: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("anchors", anchors)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, self.anchors)


class TestRelativeRepresentation(LayerSuite):
    cases = (
        LayerCase(
            lambda: ToFixedAnchors(RelativeCosines(), torch.randn(5, 3)),
            lambda n: torch.randn(n, 3),
            (5,),
            name="cosines",
        ),
        *(
            LayerCase(
                lambda m=m: ToFixedAnchors(RelativeDistances(m), cloud(m, 5, seed=3)),
                lambda n, m=m: cloud(m, n),
                (5,),
                manifold_in=m,
                name=repr(m),
            )
            for m in (Sphere(3), Lorentz(3), PoincareBall(3), SPDAffineInvariant(3))
        ),
        LayerCase(
            lambda: ToFixedAnchors(
                RelativeProduct([RelativeCosines(), RelativeDistances(Lorentz(3), ToHyperbolic(Lorentz(3)))], 5, 4),
                torch.randn(5, 3),
            ),
            lambda n: torch.randn(n, 3),
            (4,),
            name="product",
        ),
    )


def test_cosines_and_distances_are_those_of_scikit_learn() -> None:
    x, anchors = torch.randn(7, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    np.testing.assert_allclose(RelativeCosines()(x, anchors), cosine_similarity(x, anchors), rtol=1e-12)
    flat = RelativeDistances(Euclidean(4))(x, anchors)
    np.testing.assert_allclose(flat, euclidean_distances(x, anchors), rtol=1e-12)
    angles = RelativeDistances(Sphere(3), Directions())(x, anchors)
    np.testing.assert_allclose(angles, np.arccos(cosine_similarity(x, anchors)), rtol=1e-12)


class Directions(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Sphere(x.shape[-1] - 1).projx(x)


@pytest.mark.parametrize("manifold", [Sphere(3), Lorentz(3), PoincareBall(3, 0.5), SPDAffineInvariant(3)], ids=repr)
def test_isometries_leave_distances_as_they_are(manifold: Sphere) -> None:
    points, g = cloud(manifold, 12), manifold.random_isometry(dtype=torch.float64)
    layer, moved = RelativeDistances(manifold), manifold.act(g, points)
    before, after = layer(points[4:], points[:4]), layer(moved[4:], moved[:4])
    torch.testing.assert_close(after, before, rtol=1e-8, atol=1e-8)


def test_rotations_and_scales_of_features_leave_cosines_as_they_are() -> None:
    x, anchors = torch.randn(9, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    q = 3 * torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    torch.testing.assert_close(RelativeCosines()(x @ q, anchors @ q), RelativeCosines()(x, anchors))
    space = Lorentz(5)
    layer = RelativeDistances(space, ToHyperbolic(space))
    torch.testing.assert_close(layer(x @ q / 3, anchors @ q / 3), layer(x, anchors))


def test_a_product_of_one_is_its_head() -> None:
    x, anchors = torch.randn(9, 5), torch.randn(4, 5)
    layer = RelativeProduct([RelativeCosines()], 4, 3)
    _, linear, _ = layer.heads[0]
    cosines = torch.from_numpy(cosine_similarity(x, anchors))
    normal = (cosines - cosines.mean(1, keepdim=True)) / (cosines.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x, anchors), (normal @ linear.weight.T + linear.bias).tanh())


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="RelativeProduct: expected at least one relative representation"):
        RelativeProduct([], 4, 3)
    with pytest.raises(ShapeError):
        RelativeDistances(Sphere(3))(torch.randn(2, 4), torch.randn(5, 3))
