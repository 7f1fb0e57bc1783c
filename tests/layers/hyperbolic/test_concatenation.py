import pytest
import torch
from mpmath import beta
from torch import Tensor, nn

from isometry.layers.hyperbolic import Concatenation, Split
from isometry.layers.hyperbolic.concatenation import beta_ratio
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall, ShapeError
from isometry.manifolds.testing import assert_close_points
from tests.layers.clouds import cloud
from tests.layers.hyperbolic.models import C, ball_points, moved, to_lorentz

MANIFOLDS = [PoincareBall(5, C, learnable=True), Lorentz(5, C), Euclidean(5)]


class SideBySide(Split):
    """The parts as one tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(super().forward(x), -1)


class TestConcatenation(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: moved(Concatenation(m, [2, 3])),
            lambda n, m=m: (cloud(m.with_dim(2), n), cloud(m.with_dim(3), n)),
            out_shape=m.point_shape,
            manifold_in=(m.with_dim(2), m.with_dim(3)),
            manifold_out=None if m.point_shape == (6,) or m is MANIFOLDS[0] else m,
            name=repr(m),
        )
        for m in MANIFOLDS
    )


class TestSplit(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: moved(SideBySide(m, [2, 3])),
            lambda n, m=m: cloud(m, n),
            out_shape=(sum(m.with_dim(d).point_shape[0] for d in (2, 3)),),
            manifold_in=m,
            name=repr(m),
        )
        for m in MANIFOLDS
    )


def test_the_factors_are_those_of_beta_functions() -> None:
    for whole, part in ((5, 2), (300, 3), (7, 7)):
        expected = float(beta(whole / 2, 0.5) / beta(part / 2, 0.5))
        assert abs(beta_ratio(whole, part) - expected) < 1e-13


@pytest.mark.parametrize("manifold", [PoincareBall(5, C), Lorentz(5, C), Euclidean(5)], ids=repr)
def test_a_split_is_undone_and_is_the_definition(manifold: PoincareBall | Lorentz | Euclidean) -> None:
    x = cloud(manifold, 4, spread=2.0)
    parts = Split(manifold, [2, 3])(x)
    assert_close_points(manifold, Concatenation(manifold, [2, 3])(*parts), x, atol=1e-13)
    origin = manifold.origin(*manifold.point_shape, dtype=x.dtype)
    u = manifold.origin_coordinates(manifold.logmap(origin, x))
    for part, m, log in zip(parts, (manifold.with_dim(2), manifold.with_dim(3)), u.split([2, 3], -1), strict=True):
        there = m.origin(*m.point_shape, dtype=x.dtype)
        factor = float(beta(m.dim / 2, 0.5) / beta(2.5, 0.5))
        assert_close_points(m, part, m.expmap(there, m.origin_vector(factor * log)), atol=1e-12)


def test_both_models_have_one_layer() -> None:
    a, b = ball_points(4, dim=2), ball_points(4, dim=3, seed=1)
    x = Concatenation(PoincareBall(5, C), [2, 3])(a, b)
    y = Concatenation(Lorentz(5, C), [2, 3])(to_lorentz(a), to_lorentz(b))
    torch.testing.assert_close(to_lorentz(x), y, rtol=1e-12, atol=1e-12)


def test_bad_arguments() -> None:
    for dims in ([2, 2], []):
        with pytest.raises(ValueError, match="add up to 5"):
            Split(Lorentz(5), dims)
    with pytest.raises(ShapeError, match="point ends in dimensions"):
        Concatenation(Lorentz(5), [2, 3])(torch.zeros(1, 3), torch.zeros(1, 3))


@pytest.mark.peers
def test_it_is_hyplls_concatenation() -> None:
    from hypll.manifolds.poincare_ball import Curvature
    from hypll.manifolds.poincare_ball import PoincareBall as Theirs
    from hypll.tensors import ManifoldTensor

    theirs = Theirs(Curvature(0.25, constraining_strategy=lambda c: c))
    x = 0.9 * ball_points(4, 3, dim=2)
    expected = theirs.cat([ManifoldTensor(p, manifold=theirs, man_dim=-1) for p in x.unbind(1)], dim=1).tensor
    y: nn.Module = Concatenation(PoincareBall(6, 0.25), [2, 2, 2])
    torch.testing.assert_close(y(*x.unbind(1)), expected, rtol=1e-6, atol=1e-7)  # their factors are float32
