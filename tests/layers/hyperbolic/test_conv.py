import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isometry.layers.hyperbolic import Concatenation, Conv1d, Conv2d, Linear
from isometry.layers.hyperbolic.concatenation import beta_ratio
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Euclidean, Lorentz, PoincareBall, ShapeError
from isometry.manifolds.testing import assert_close_points
from tests.layers.clouds import cloud
from tests.layers.hyperbolic.models import C, ball_points, moved, near_flat, pair, to_lorentz

CASES = [
    (PoincareBall(3, C, learnable=True), PoincareBall(2, C)),
    (Lorentz(3), PoincareBall(2)),
    (Euclidean(3), Euclidean(2)),
]


class TestConv1d(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m, out=out: moved(Conv1d(m, out, 3, stride=2, padding=1)),
            lambda n, m=m: cloud(m, n, 5),
            out_shape=(3, *out.point_shape),
            manifold_in=m,
            manifold_out=out,
            name=f"{m!r} to {out!r}",
        )
        for m, out in CASES
    )


class TestConv2d(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda m=m, out=out: moved(Conv2d(m, out, 3, stride=2, padding=1, bias=False)),
            lambda n, m=m: cloud(m, n, 4, 5),
            out_shape=(2, 3, *out.point_shape),
            manifold_in=m,
            manifold_out=out,
            name=f"{m!r} to {out!r}",
        )
        for m, out in CASES
    )


def padded(manifold: PoincareBall | Lorentz | Euclidean, x: Tensor, dims: int) -> Tensor:
    """With one origin on each side of the dimensions after the batch."""
    shape = [x.shape[0], *(n + 2 for n in x.shape[1 : 1 + dims]), x.shape[-1]]
    y = manifold.origin(*shape, dtype=x.dtype)
    y[(slice(None), *[slice(1, -1)] * dims)] = x
    return y


@pytest.mark.parametrize("manifold", [PoincareBall(3, C), Lorentz(3, C), Euclidean(3)], ids=repr)
def test_it_is_the_linear_layer_of_the_windows(manifold: PoincareBall | Lorentz | Euclidean) -> None:
    """Window by window, its points concatenated."""
    out = manifold.with_dim(2)
    for dims, kind in ((1, Conv1d), (2, Conv2d)):
        conv = moved(kind(manifold, out, 3, stride=2, padding=1))
        whole = manifold.with_dim(3 * 3**dims)
        linear, join = Linear(whole, out).double(), Concatenation(whole, [3] * 3**dims)
        with torch.no_grad():
            linear.weight.copy_(conv.weight.movedim(1, -1).flatten(1))  # the cells first, then coordinates
            linear.bias.copy_(conv.bias)
        x = cloud(manifold, 2, *(4, 5)[-dims:], spread=2.0)
        y, p = conv(x), padded(manifold, x, dims)
        windows = p.unfold(1, 3, 2) if dims == 1 else p.unfold(1, 3, 2).unfold(2, 3, 2)
        points = windows.movedim(1 + dims, -1).flatten(1 + dims, -2)  # [b, *steps, cells, coordinates]
        assert_close_points(out, y, linear(join(*points.unbind(-2))), atol=1e-11)


@pytest.mark.parametrize("kind", [Conv1d, Conv2d])
def test_both_models_have_one_layer(kind: type[Conv1d]) -> None:
    ball, hyperboloid = pair(lambda m: kind(m, m.with_dim(3), 2, padding=1))
    x = ball_points(2, 5, radius=2.0) if kind is Conv1d else ball_points(2, 5, 4, radius=2.0)
    torch.testing.assert_close(to_lorentz(ball(x)), hyperboloid(to_lorentz(x)), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", [Conv1d, Conv2d])
def test_in_flat_space_it_is_torchs_of_scaled_inputs(kind: type[Conv1d]) -> None:
    conv = moved(kind(Euclidean(4), Euclidean(3), 3, stride=2, padding=1))
    x = torch.randn(2, *(5, 6)[: conv.weight.ndim - 2], 4, dtype=torch.float64)
    convolve = F.conv1d if kind is Conv1d else F.conv2d
    scaled = beta_ratio(4 * 3 ** (conv.weight.ndim - 2), 4) * x.movedim(-1, 1)
    bias = conv.bias * conv.weight.flatten(1).norm(dim=-1)
    expected = convolve(scaled, conv.weight, bias, stride=2, padding=1).movedim(1, -1)
    torch.testing.assert_close(conv(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("model", [PoincareBall, Lorentz])
def test_flat_space_is_the_limit(model: type) -> None:
    curved, flat = near_flat(lambda m: Conv2d(m, m.with_dim(3), 3, padding=1), model)
    s = torch.randn(2, 4, 4, 4, dtype=torch.float64)
    y = curved.out.spatial(curved(curved.manifold.from_spatial(s)))
    torch.testing.assert_close(y, flat(s), rtol=0, atol=1e-8)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="expected kernel_size >= 1"):
        Conv1d(Lorentz(3), Lorentz(3), 0)
    with pytest.raises(ShapeError, match="point ends in dimensions"):
        Conv2d(Lorentz(3), Lorentz(3), 3)(torch.zeros(2, 5, 5, 3))


@pytest.mark.peers
def test_it_is_hyplls() -> None:
    """Its kernels are [channels x cells, out]."""
    from hypll.manifolds.poincare_ball import Curvature
    from hypll.manifolds.poincare_ball import PoincareBall as Theirs
    from hypll.nn import HConvolution2d
    from hypll.tensors import ManifoldTensor

    torch.set_default_dtype(torch.float64)
    ours: nn.Module = moved(Conv2d(PoincareBall(4, 0.25), PoincareBall(3, 0.25), 3, padding=1))
    theirs = HConvolution2d(4, 3, 3, Theirs(Curvature(0.25, constraining_strategy=lambda c: c)), padding=1)
    with torch.no_grad():
        theirs.weights.tensor.copy_(ours.weight.flatten(1).mT / 2)
        theirs.bias.copy_(-ours.bias / 2)
    x = 0.5 * ball_points(2, 5, 6, radius=1.0)
    y = theirs(ManifoldTensor(x.movedim(-1, 1), manifold=theirs.manifold, man_dim=1)).tensor.movedim(1, -1)
    torch.testing.assert_close(ours(x), y, rtol=1e-6, atol=1e-7)  # their factors are float32
