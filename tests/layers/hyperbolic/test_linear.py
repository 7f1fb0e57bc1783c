import mpmath
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from isometry.layers import Classifier as AnyClassifier
from isometry.layers.hyperbolic import Classifier, Linear, LorentzLinear, TangentLinear
from isometry.layers.hyperbolic._hyperboloid import checked_space
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall, ShapeError, Sphere
from isometry.manifolds.testing import assert_close_points
from tests.layers.clouds import cloud
from tests.layers.hyperbolic.models import C, ball_points, moved, near_flat, pair, to_lorentz

LINEARS = [Linear, LorentzLinear, TangentLinear]
PAIRS = [
    (PoincareBall(3, C, learnable=True), PoincareBall(2, 0.5)),
    (Lorentz(3), Lorentz(2, C)),
    (Lorentz(3), PoincareBall(2)),
    (Euclidean(3), Lorentz(2, 0.5, learnable=True)),  # the layer's copy of c moves: its output is not on this one
]


class TestLinear(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda kind=kind, m=m, out=out: moved(kind(m, out)),
            lambda n, m=m: cloud(m, n, 2),
            out_shape=(2, *out.point_shape),
            manifold_in=m,
            manifold_out=None if out.learnable else out,
            name=f"{kind.__name__}, {m!r} to {out!r}",
        )
        for kind in LINEARS
        for m, out in PAIRS
    )


class TestClassifier(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m: moved(Classifier(m, 4)),
            lambda n, m=m: cloud(m, n, 2),
            out_shape=(2, 4),
            manifold_in=m,
            name=repr(m),
        )
        for m in (PoincareBall(3, C, learnable=True), Lorentz(3), Euclidean(3))
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LINEARS)
def test_both_models_have_one_layer(kind: type[Linear], bias: bool) -> None:
    ball, hyperboloid = pair(lambda m: kind(m, m.with_dim(3), bias))
    x = ball_points(5, 2, radius=4.0)
    torch.testing.assert_close(to_lorentz(ball(x)), hyperboloid(to_lorentz(x)), rtol=1e-12, atol=1e-12)


def test_both_models_have_the_same_logits() -> None:
    ball, hyperboloid = pair(lambda m: Classifier(m, 6))
    x = ball_points(5, 2, radius=6.0)
    torch.testing.assert_close(ball(x), hyperboloid(to_lorentz(x)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", LINEARS)
def test_in_flat_space_it_is_torchs(kind: type[Linear]) -> None:
    """With the bias |a| b where b is a distance."""
    layer, linear = moved(kind(Euclidean(4), Euclidean(3))), nn.Linear(4, 3).double()
    with torch.no_grad():
        linear.weight.copy_(layer.weight)
        linear.bias.copy_(layer.bias * (layer.weight.norm(dim=-1) if kind is Linear else 1))
    x = torch.randn(5, 4, dtype=torch.float64)
    torch.testing.assert_close(layer(x), linear(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
@pytest.mark.parametrize("kind", LINEARS)
def test_flat_space_is_the_limit(kind: type[Linear], model: type) -> None:
    curved, flat = near_flat(lambda m: kind(m, m.with_dim(3)), model)
    s = torch.randn(5, 4, dtype=torch.float64)
    y = curved.out.spatial(curved(curved.manifold.from_spatial(s)))
    torch.testing.assert_close(y, flat(s), rtol=0, atol=1e-8)


@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
def test_logits_are_torchs_in_the_limit(model: type) -> None:
    curved, flat = near_flat(lambda m: Classifier(m, 3), model)
    s = torch.randn(5, 4, dtype=torch.float64)
    expected = F.linear(s, flat.weight, flat.bias * flat.weight.norm(dim=-1))
    torch.testing.assert_close(flat(s), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(curved(curved.manifold.from_spatial(s)), expected, rtol=0, atol=1e-8)


def test_weights_start_as_torchs() -> None:
    for kind in LINEARS:
        torch.manual_seed(0)
        layer = kind(Lorentz(5), Lorentz(3))
        torch.manual_seed(0)
        assert torch.equal(layer.weight, nn.Linear(5, 3, bias=False).weight)
        assert torch.equal(layer.bias, torch.zeros(3))


def gyroplane_logit(x: list[float], z: list[float], r: float, c: float) -> mpmath.mpf:
    """Hyperbolic neural networks++, equation 6, as printed."""
    mp, root = mpmath, mpmath.sqrt(c)
    length = mp.sqrt(sum(mp.mpf(v) ** 2 for v in z))
    factor = 2 / (1 - c * sum(mp.mpf(v) ** 2 for v in x))
    along = sum(mp.mpf(a) * mp.mpf(b) for a, b in zip(x, z, strict=True)) / length
    inside = factor * root * along * mp.cosh(2 * root * r) - (factor - 1) * mp.sinh(2 * root * r)
    return 2 / root * length * mp.asinh(inside)


def test_logits_are_the_published_ones_to_the_last_digits() -> None:
    """Up to radius 15, in float64."""
    layer = moved(Classifier(PoincareBall(3, C), 4))
    for radius in (0.1, 2.0, 15.0):
        x = ball_points(5, dim=3, radius=radius)
        with mpmath.workdps(60):
            expected = [
                [
                    float(gyroplane_logit(p, [v / 2 for v in a], -b / 2, mpmath.mpf(C)))
                    for a, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
                ]
                for p in x.tolist()
            ]
        torch.testing.assert_close(layer(x), torch.tensor(expected, dtype=torch.float64), rtol=3e-14, atol=3e-14)


@pytest.mark.parametrize("manifold", [PoincareBall(3, C), Lorentz(3, C)], ids=repr)
def test_logits_are_distances_to_the_hyperplane(manifold: PoincareBall | Lorentz) -> None:
    """A point at a distance d from a point of the hyperplane, along its normal there, and the generic layer there."""
    layer = moved(Classifier(manifold, 4))
    origin = manifold.origin(*manifold.point_shape, dtype=torch.float64)
    length = layer.weight.norm(dim=-1, keepdim=True)
    normal = manifold.origin_vector(layer.weight / length)
    foot = manifold.expmap(origin, -layer.bias.unsqueeze(-1) * normal)
    direction = manifold.transp(origin, foot, normal)
    for d in (-1.5, 0.0, 2.0):
        logits = layer(manifold.expmap(foot, d * direction)).diagonal()
        torch.testing.assert_close(logits, d * length.squeeze(-1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("manifold", [PoincareBall(3, C), Lorentz(3, C)], ids=repr)
def test_the_generic_classifier_separates_by_the_same_hyperplanes(manifold: PoincareBall | Lorentz) -> None:
    """It agrees near the point of the plane that is nearest to the origin, and not far from it."""
    layer, generic = moved(Classifier(manifold, 4)), AnyClassifier(manifold, 4).double()
    origin = manifold.origin(*manifold.point_shape, dtype=torch.float64)
    normal = manifold.origin_vector(layer.weight / layer.weight.norm(dim=-1, keepdim=True))
    with torch.no_grad():
        generic.points.copy_(manifold.expmap(origin, -layer.bias.unsqueeze(-1) * normal))
        generic.weight.copy_(manifold.origin_vector(layer.weight))
    x = cloud(manifold, 50, spread=3.0)
    ours, theirs = layer(x), generic(x)
    assert torch.equal(ours > 0, theirs > 0)
    assert (ours - theirs).abs().max() > 0.1
    near = manifold.expmap(generic.points, 1e-3 * manifold.logmap(generic.points, x[:4]))
    torch.testing.assert_close(layer(near).diagonal(), generic(near).diagonal(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("manifold", [PoincareBall(3, C), Lorentz(3, C)], ids=repr)
def test_features_are_distances_from_the_coordinate_planes(manifold: PoincareBall | Lorentz) -> None:
    layer = moved(Linear(manifold, manifold.with_dim(2)))
    logits = Classifier(manifold, 2).double()
    planes = Classifier(layer.out, 2).double()
    with torch.no_grad():
        logits.weight.copy_(layer.weight)
        logits.bias.copy_(layer.bias)
        planes.weight.copy_(torch.eye(2))
    x = cloud(manifold, 5, spread=2.0)
    torch.testing.assert_close(planes(layer(x)), logits(x), rtol=1e-12, atol=1e-12)


def test_the_tangent_layer_is_the_manifolds_own_maps() -> None:
    for manifold in (PoincareBall(4, C), Lorentz(4, C)):
        layer, x = moved(TangentLinear(manifold, manifold.with_dim(3))), cloud(manifold, 5, spread=2.0)
        out = layer.out
        origin = manifold.origin(*manifold.point_shape, dtype=x.dtype)
        there = out.origin(*out.point_shape, dtype=x.dtype)
        u = manifold.origin_coordinates(manifold.logmap(origin, x)) @ layer.weight.mT
        y = out.expmap(there, out.origin_vector(u))
        y = out.expmap(y, out.transp(there, y, out.origin_vector(layer.bias).expand_as(y)))
        assert_close_points(out, layer(x), y, atol=1e-12)


def test_an_orthogonal_map_of_the_hyperboloid_is_a_rotation() -> None:
    m = Lorentz(4, C)
    layer = LorentzLinear(m, m, bias=False).double()
    q, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    with torch.no_grad():
        layer.weight.copy_(q)
    x = cloud(m, 5, spread=3.0)
    torch.testing.assert_close(layer(x), m.act((q, m.origin(5, dtype=x.dtype)), x), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("manifold", [PoincareBall(8, C), Lorentz(8, C)], ids=repr)
@pytest.mark.parametrize("kind", LINEARS)
def test_float32_far_out_is_float64_rounded(kind: type[Linear], manifold: PoincareBall | Lorentz) -> None:
    """At radius 15: relative in the hyperboloid's coordinates, which the ball's format resolves to eps times time."""
    layer = kind(manifold, manifold.with_dim(4))
    x = ball_points(64, dim=8, radius=15.0).float()
    x = x if isinstance(manifold, PoincareBall) else to_lorentz(x)
    s = layer.out.spatial(layer(x).double())
    exact = layer.double()
    expected = layer.out.spatial(exact(x.double()))
    length = expected.norm(dim=-1)
    grid = torch.finfo(torch.float32).eps * (1 + length if isinstance(manifold, PoincareBall) else 1)
    assert length.max() > 1e2
    assert ((s - expected).norm(dim=-1) <= 64 * grid * length).all()


def test_a_row_of_zeros_is_no_direction() -> None:
    layer = Linear(PoincareBall(3), PoincareBall(2))
    nn.init.zeros_(layer.weight)
    x = PoincareBall(3).random(4, 3)
    layer(x).square().sum().backward()
    assert torch.equal(layer(x), torch.zeros(4, 2))
    assert layer.weight.grad.isfinite().all()


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="expected a PoincareBall, a Lorentz or a Euclidean manifold"):
        checked_space(Sphere(3), nn.Identity())
    with pytest.raises(ValueError, match="at least one class"):
        Classifier(Lorentz(3), 0)
    with pytest.raises(ShapeError, match="point ends in dimensions"):
        Linear(Lorentz(3), Lorentz(2))(torch.zeros(4, 3))


@pytest.mark.peers
def test_it_is_hyplls() -> None:
    from hypll.manifolds.poincare_ball import Curvature
    from hypll.manifolds.poincare_ball import PoincareBall as Theirs
    from hypll.nn import HLinear
    from hypll.tensors import ManifoldTensor

    torch.set_default_dtype(torch.float64)
    ours = moved(Linear(PoincareBall(4, 0.25), PoincareBall(3, 0.25)))  # whose root float32 holds, as theirs needs
    theirs = HLinear(4, 3, Theirs(Curvature(0.25, constraining_strategy=lambda c: c)))
    with torch.no_grad():
        theirs.z.tensor.copy_(ours.weight.mT / 2)
        theirs.bias.copy_(-ours.bias / 2)
    x = ball_points(5)
    y = theirs(ManifoldTensor(x, manifold=theirs.manifold, man_dim=-1)).tensor
    torch.testing.assert_close(ours(x), y, rtol=1e-10, atol=1e-12)
