"""Activation, normalisation, clipping and the bridges, and the generic layers on hyperbolic space."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isometry.layers import BatchNorm, Dropout
from isometry.layers.hyperbolic import Activation, FeatureClipping, FromHyperbolic, LayerNorm, ToHyperbolic
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall
from isometry.manifolds.testing import assert_close_points
from tests.layers.clouds import cloud
from tests.layers.hyperbolic.models import C, ball_points, moved, near_flat, pair, to_lorentz

MANIFOLDS = [PoincareBall(3, C), Lorentz(3, C), Euclidean(3)]
LEARNABLE = PoincareBall(3, C, learnable=True)


class TestActivation(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m, out=out: moved(Activation(m, nn.Tanh(), out)),
            lambda n, m=m: cloud(m, n, 2),
            out_shape=(2, *out.point_shape),
            manifold_in=m,
            manifold_out=out,
            name=f"{m!r} to {out!r}",
        )
        for m, out in ((LEARNABLE, Lorentz(3)), (Lorentz(3), Lorentz(3, 0.5)), (Euclidean(3), PoincareBall(3)))
    )


class TestLayerNorm(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: moved(LayerNorm(m)),
            lambda n, m=m: cloud(m, n, 2),
            out_shape=(2, *m.point_shape),
            cond=1e3,  # the spread of three coordinates is small beside them, and eps small beside it
            manifold_in=m,
            manifold_out=m,
            name=repr(m),
        )
        for m in MANIFOLDS
    )


class TestBridges(LayerSuite):
    cases = tuple(
        case
        for m in (LEARNABLE, *MANIFOLDS[1:])
        for case in (
            LayerCase(lambda m=m: moved(ToHyperbolic(m)), lambda n: torch.randn(n, 2, 3), (2, *m.point_shape)),
            LayerCase(lambda m=m: moved(FromHyperbolic(m)), lambda n, m=m: cloud(m, n, 2), (2, 3), manifold_in=m),
        )
    )


class TestFeatureClipping(LayerSuite):
    cases = (LayerCase(lambda: FeatureClipping(1.0), lambda n: torch.randn(n, 3), (3,)),)


@pytest.mark.parametrize(
    "make", [lambda m: Activation(m, nn.GELU()), LayerNorm, lambda m: Activation(m, nn.ReLU(), m.with_dim(4))]
)
def test_both_models_have_one_layer(make: type[LayerNorm]) -> None:
    ball, hyperboloid = pair(make)
    x = ball_points(5, 2, radius=4.0)
    torch.testing.assert_close(to_lorentz(ball(x)), hyperboloid(to_lorentz(x)), rtol=1e-11, atol=1e-11)


def test_both_models_have_the_generic_layers() -> None:
    """Batch normalisation by Frechet means, and dropout of the same coordinates."""
    x = ball_points(8, radius=3.0)
    for make in (lambda m: BatchNorm(m, mean_steps=None), lambda m: BatchNorm(m, mean_steps=2)):
        ball, hyperboloid = make(PoincareBall(4, C)).double(), make(Lorentz(4, C)).double()
        torch.testing.assert_close(to_lorentz(ball(x)), hyperboloid(to_lorentz(x)), rtol=1e-10, atol=1e-10)
    results = []
    for manifold, points in ((PoincareBall(4, C), x), (Lorentz(4, C), to_lorentz(x))):
        torch.manual_seed(1)
        results.append(Dropout(manifold, 0.3)(points))
    torch.testing.assert_close(to_lorentz(results[0]), results[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
def test_flat_space_is_the_limit(model: type) -> None:
    s = torch.randn(5, 4, dtype=torch.float64)
    _, flat = near_flat(LayerNorm, model)
    torch.testing.assert_close(flat(s), F.layer_norm(s, (4,), flat.weight, flat.bias, flat.eps), rtol=0, atol=1e-14)
    for make, expected in (
        (lambda m: Activation(m, torch.tanh), s.tanh()),
        (LayerNorm, F.layer_norm(s, (4,))),
    ):
        layer = make(model(4, 1e-10)).double()
        y = layer.manifold.spatial(layer(layer.manifold.from_spatial(s)))
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_the_bridges_are_the_manifolds_own_maps(manifold: PoincareBall | Lorentz | Euclidean) -> None:
    """A vector of length r becomes a point at the distance r, and comes back."""
    u = torch.randn(5, 3, dtype=torch.float64)
    origin = manifold.origin(*manifold.point_shape, dtype=u.dtype)
    x = ToHyperbolic(manifold)(u)
    assert_close_points(manifold, x, manifold.expmap(origin, manifold.origin_vector(u)), atol=1e-13)
    torch.testing.assert_close(manifold.dist(origin, x), u.norm(dim=-1), rtol=1e-13, atol=0)
    torch.testing.assert_close(FromHyperbolic(manifold)(x), u, rtol=1e-13, atol=1e-14)


def test_features_are_clipped_at_the_radius_and_keep_their_direction() -> None:
    u = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    torch.testing.assert_close(FeatureClipping(1.0)(u), torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]))


@pytest.mark.parametrize("upcast", [True, False])
def test_what_lies_beyond_the_ball_stops_at_its_last_points(upcast: bool) -> None:
    """In every format the point is inside, and far out."""
    for dtype, radius in ((torch.float32, 16.5 if upcast else 14.5), (torch.float64, 34.0), (torch.float16, 6.0)):
        ball = PoincareBall(8, C, upcast=upcast)
        u = 60 * F.normalize(torch.randn(1000, 8, dtype=torch.float64), dim=-1)
        x = ToHyperbolic(ball)(u.to(dtype) if dtype != torch.float16 else u.to(dtype) / 5)
        assert x.dtype == dtype
        inside = 1 - C * x.double().square().sum(-1)
        assert (inside > 0).all()
        assert (2 * (C**0.5 * x.double().norm(dim=-1)).atanh()).min() > radius


def test_bad_arguments() -> None:
    for radius in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="expected a positive radius"):
            FeatureClipping(radius)
    with pytest.raises(ValueError, match="expected the output's dimension 3"):
        Activation(Lorentz(3), nn.ReLU(), Lorentz(2))


def test_an_activation_is_finite_far_beyond_where_squares_overflow() -> None:
    """The spatial part 5e19 of a point stored in float32, at radius 46; its square is not a number of float32."""
    m = Lorentz(3)
    x = m.from_spatial(torch.tensor([[5e19, -3e18, 1.0]])).requires_grad_()
    y = Activation(m, nn.ReLU())(x)
    y[..., 0].log().sum().backward()
    # The logarithm, without its second coordinate, is shorter by 1 - 1/sqrt(1 + 0.06^2).
    radius = math.asinh(5e19 * math.sqrt(1 + 0.06**2)) / math.sqrt(1 + 0.06**2)
    assert y[0, 1].item() == pytest.approx(math.sinh(radius), rel=1e-5)
    assert x.grad is not None
    assert x.grad.isfinite().all()
