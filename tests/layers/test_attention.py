import pytest
import torch
from torch import Tensor, nn

from isometry.layers import Attention, BiMap
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import (
    Euclidean,
    Lorentz,
    Manifold,
    PowerDeformed,
    ShapeError,
    SPDAffineInvariant,
    SPDBuresWasserstein,
    SPDLogCholesky,
    SPDLogEuclidean,
    Sphere,
)
from isometry.manifolds.testing import assert_close_points
from tests.layers.clouds import cloud


def attention(manifold: Manifold) -> Attention:
    """Of 3 x 3 matrices, made of 4 x 4 ones."""
    return Attention(manifold, *(BiMap(4, 3) for _ in range(3)))


class TestAttention(LayerSuite):
    cases = (
        LayerCase(
            lambda: Attention(Euclidean(3), nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)),
            lambda n: torch.randn(n, 5, 4),
            out_shape=(5, 3),
            name="Euclidean",
        ),
        LayerCase(
            lambda: attention(SPDLogEuclidean(3)),
            lambda n: cloud(SPDLogEuclidean(4), n, 5),
            out_shape=(5, 3, 3),
            manifold_in=SPDLogEuclidean(4),
            manifold_out=SPDLogEuclidean(3),
            name="SPDLogEuclidean",
        ),
        LayerCase(
            lambda: Attention(Sphere(2), nn.Identity(), nn.Identity(), nn.Identity()),
            lambda n: cloud(Sphere(2), n, 3),
            out_shape=(3, 3),
            manifold_in=Sphere(2),
            manifold_out=Sphere(2),
            name="Sphere",
        ),
    )


@pytest.mark.parametrize(
    "manifold",
    [
        Euclidean(3),
        Sphere(3),
        Lorentz(3),
        SPDLogEuclidean(3),
        SPDLogCholesky(3),
        SPDAffineInvariant(3),
        SPDBuresWasserstein(3),
        PowerDeformed(SPDLogCholesky(3), 0.5),
    ],
    ids=repr,
)
def test_it_is_the_formula(manifold: Manifold) -> None:
    """For each query a mean of its own."""
    parts = [cloud(manifold, 2, 4, seed=s) for s in range(3)]

    class Part(nn.Module):
        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

        def forward(self, x: Tensor) -> Tensor:
            return parts[self.index]

    y = Attention(manifold, Part(0), Part(1), Part(2))(parts[0])
    q, k, v = parts
    for b in range(2):
        for i in range(4):
            similarity = 1 / (1 + (1 + manifold.dist(q[b, i], k[b])).log())
            weights = similarity.exp() / similarity.exp().sum()
            assert_close_points(manifold, y[b, i], manifold.frechet_mean(v[b], weights), atol=1e-12)


def test_the_order_of_the_sequence_does_not_matter() -> None:
    layer, x = attention(SPDLogEuclidean(3)).double(), cloud(SPDLogEuclidean(4), 2, 5)
    order = torch.randperm(5)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order], rtol=0, atol=1e-13)


def test_bad_input() -> None:
    with pytest.raises(
        ShapeError, match=r"a query ends in dimensions \(3, 3\), but the tensor has shape \(2, 5, 2, 2\)"
    ):
        Attention(SPDLogEuclidean(3), BiMap(4, 2), BiMap(4, 3), BiMap(4, 3))(cloud(SPDLogEuclidean(4), 2, 5).float())
    with pytest.raises(ShapeError, match="expected a sequence of points"):
        attention(SPDLogEuclidean(3))(torch.eye(4))


@pytest.mark.peers
def test_it_is_spd_learns_with_query_and_key_exchanged() -> None:
    """Their softmax runs over what they call queries."""
    from spd_learn.models import matt

    theirs = matt.AttentionManifold(4, 3).double()
    ours = attention(SPDLogEuclidean(3)).double()
    with torch.no_grad():
        for name, part in (("query", theirs.k_trans), ("key", theirs.q_trans), ("value", theirs.v_trans)):
            getattr(ours, name).weight.copy_(part.weight[0])
    x = cloud(SPDLogEuclidean(4), 2, 5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)
