import copy
import math

import pytest
import torch

from isometry.layers import Embedding
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import (
    Euclidean,
    Lorentz,
    Manifold,
    PoincareBall,
    Product,
    Scaled,
    ShapeError,
    Sphere,
    Torus,
    named_manifolds,
)
from isometry.trainers.optim import RiemannianSGD

MANIFOLDS = [
    Euclidean(3),
    Lorentz(3, c=0.4),
    PoincareBall(3, c=2.0),
    Sphere(3),
    Torus(3),
    Scaled(PoincareBall(3), 2.0),
    Product([Lorentz(2), Sphere(1), Euclidean(2)]),
]


class TestEmbedding(LayerSuite):
    # Dense gradients, which can be differentiated.
    cases = tuple(
        LayerCase(
            lambda m=m: Embedding(7, m, init_scale=0.5, sparse=False),
            lambda n: torch.randint(7, (n, 3)),
            out_shape=(3, *m.point_shape),
            manifold_out=m,
        )
        for m in MANIFOLDS
    )


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_rows_start_on_the_manifold_at_coordinates_uniform_around_the_origin(manifold: Manifold) -> None:
    layer = Embedding(500, manifold, init_scale=0.2, dtype=torch.float64)
    assert layer.weight.shape == (500, *manifold.point_shape)
    assert manifold.point_residual(layer.weight).max() < 1e-12
    origin = manifold.origin(*layer.weight.shape, dtype=torch.float64)
    coordinates = manifold.origin_coordinates(manifold.logmap(origin, layer.weight))
    assert coordinates.abs().max() <= 0.2 + 1e-12
    assert (coordinates.mean(0).abs() < 4.5 * 0.2 / (3 * 500) ** 0.5).all()
    assert (coordinates.std(0) * 3**0.5 / 0.2 - 1).abs().max() < 0.15


def test_in_flat_space_it_is_torchs_embedding() -> None:
    layer = Embedding(20, Euclidean(4), sparse=False)
    index = torch.randint(20, (5, 3))
    assert torch.equal(layer(index), torch.nn.functional.embedding(index, layer.weight))

    plain = torch.nn.Embedding(20, 4, _weight=layer.weight.detach().clone())
    for module, optimizer in (
        (layer, RiemannianSGD(layer, lr=0.3)),
        (plain, torch.optim.SGD(plain.parameters(), lr=0.3)),
    ):
        module(index).square().sum().backward()
        optimizer.step()
    assert torch.equal(layer.weight, plain.weight)


def test_gradients_are_sparse_if_asked_for() -> None:
    for sparse in (True, False):
        layer = Embedding(20, Sphere(2), sparse=sparse)
        layer(torch.tensor([1, 3, 3])).sum().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.is_sparse is sparse


def test_the_manifold_is_known_and_travels_with_it() -> None:
    layer = Embedding(20, PoincareBall(3, learnable=True))
    assert named_manifolds(layer) == {"weight": layer.manifold}
    assert dict(layer.named_parameters()).keys() == {"weight", "manifold.log_c"}
    twin = copy.deepcopy(layer)
    assert named_manifolds(twin)["weight"] is twin.manifold is not layer.manifold
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin.weight, layer.weight)


def test_a_checkpoint_of_another_manifold_is_refused() -> None:
    state = Embedding(20, PoincareBall(3)).state_dict()
    for manifold in (
        PoincareBall(3, c=2.0),
        PoincareBall(3, learnable=True),
        Euclidean(3),
        Scaled(PoincareBall(3), 2.0),
    ):
        with pytest.raises((ValueError, RuntimeError), match=r"manifold"):
            Embedding(20, manifold).load_state_dict(state)
    with pytest.raises(ValueError, match=r"written for the manifold .*PoincareBall.*but this module has .*'c': 2\.0"):
        Embedding(20, PoincareBall(3, c=2.0)).load_state_dict(state)


class Matrices(Euclidean):
    """Stands for a manifold whose points are no vectors."""

    @property
    def point_shape(self) -> tuple[int, ...]:
        return (2, 2)


def test_bad_input() -> None:
    with pytest.raises(ShapeError, match=r"expected a manifold of vectors, but .* has points \(2, 2\)"):
        Embedding(20, Matrices(4))
    for scale in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"expected a finite init_scale >= 0, but got {scale}"):
            Embedding(20, PoincareBall(3), init_scale=scale)
