import torch
from torch import nn

from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall
from isometry.models import HypCD


class TestHypCD(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: HypCD(nn.Linear(5, 4), 4, 6, m, radius=1.0),
            lambda n: torch.randn(n, 5),
            m.point_shape,
            manifold_out=m,
            name=repr(m),
        )
        for m in (PoincareBall(3, 0.5, learnable=True), Lorentz(3), Euclidean(3))
    )


def test_points_are_no_farther_than_the_radius() -> None:
    manifold = Lorentz(3, 0.1)
    model = HypCD(nn.Identity(), 5, 6, manifold, radius=1.5)
    distances = manifold.dist(manifold.origin(4), model(1e5 * (1 + torch.rand(50, 5))))
    torch.testing.assert_close(distances, torch.full((50,), 1.5))
