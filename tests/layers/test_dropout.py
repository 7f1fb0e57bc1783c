import math

import pytest
import torch
from torch import nn

from isometry.layers import Dropout
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import (
    Checked,
    Euclidean,
    HomogeneousManifold,
    Lorentz,
    PoincareBall,
    SPDAffineInvariant,
    SPDBuresWasserstein,
    SPDLogCholesky,
    SPDLogEuclidean,
    Sphere,
)
from tests.layers.clouds import cloud

MANIFOLDS = [
    Euclidean(3),
    Sphere(3),
    PoincareBall(3),
    Lorentz(3),
    SPDAffineInvariant(3),
    SPDLogEuclidean(3),
    SPDLogCholesky(3),
]


class TestDropout(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: Dropout(m, 0.4),
            lambda n, m=m: cloud(m, n, 2),
            out_shape=(2, *m.point_shape),
            cond=128.0,  # vectors at the origin grow by 1/0.6
            manifold_in=m,
            manifold_out=m,
            name=repr(m),
        )
        for m in MANIFOLDS
    )


def test_in_flat_space_it_is_torchs() -> None:
    x = torch.randn(50, 4, dtype=torch.float64)
    torch.manual_seed(1)
    ours = Dropout(Euclidean(4), 0.3)(x)
    torch.manual_seed(1)
    assert torch.equal(ours, nn.Dropout(0.3)(x))


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_coordinates_are_dropped_with_the_probability_and_keep_their_mean(manifold: HomogeneousManifold) -> None:
    x = cloud(manifold, 1, spread=0.0).expand(4000, *manifold.point_shape)
    origin = manifold.origin(*manifold.point_shape, dtype=torch.float64)
    before = manifold.origin_coordinates(manifold.logmap(origin, x))
    after = manifold.origin_coordinates(manifold.logmap(origin, Dropout(manifold, 0.4)(x)))
    dropped = after.abs() < 1e-12
    assert (dropped.double().mean(0) - 0.4).abs().max() < 4.5 * math.sqrt(0.24 / 4000)
    torch.testing.assert_close(after, torch.where(dropped, 0, before / 0.6), rtol=0, atol=1e-12)


def test_it_does_nothing_in_eval_mode_or_without_probability() -> None:
    x = cloud(SPDLogEuclidean(3), 5)
    assert torch.equal(Dropout(SPDLogEuclidean(3), 0.9).eval()(x), x)
    assert torch.equal(Dropout(SPDLogEuclidean(3), 0.0)(x), x)


def test_bad_arguments() -> None:
    for p in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=f"0 <= p < 1, but got p={p}"):
            Dropout(Euclidean(3), p)
    with pytest.raises(ValueError, match="expected a HomogeneousManifold"):
        Dropout(Checked(SPDBuresWasserstein(3)))
