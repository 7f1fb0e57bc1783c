from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.layers.tensor import Conv2d, Embedding, Linear
from isometry.layers.tensor.layer import TensorLayer
from isometry.manifolds.low_rank import named_low_rank
from tests.layers.tensor.tensor_cases import WAYS, conv, examples, images, linear, take, vectors

F64 = torch.float64
EXAMPLES = examples(tangent_grad=True, dtype=F64)


def gradients(layer: Any, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the gradient of the input (None for an index) and those of the parameters, of one fixed loss."""
    x = x.double().requires_grad_() if x.is_floating_point() else x
    y = layer(x)
    loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum()
    variables = [*([x] if x.is_floating_point() else []), *layer.parameters()]
    grads = torch.autograd.grad(loss, variables)
    count = len(list(layer.parameters()))
    return grads[: len(grads) - count], grads[len(grads) - count :]


def expected(layer: TensorLayer, x: Tensor) -> tuple[Any, list[Tensor]]:
    """Return the same by the dense layer, the gradient of its weight projected in dense tensors."""
    inputs, (weight, *bias) = gradients(layer.to_dense(), x)
    handle = named_low_rank(layer.factors)[""]
    blocks = handle.manifold.project(handle.point(), layer.factors.folded(weight))
    return inputs, [*bias, *handle.padded(handle.manifold.leaves(blocks))]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("name", "make", "inputs"), EXAMPLES, ids=[name for name, *_ in EXAMPLES])
def test_gradients_are_the_blocks_of_the_projected_dense_gradient(
    name: str, make: Callable[[], TensorLayer], inputs: Callable[[int], Tensor], way: str
) -> None:
    layer, x = take(make(), way), inputs(30)
    for ours, theirs in zip(gradients(layer, x), expected(layer, x), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-13 * (1 + float(b.detach().abs().max())))


ROOM: dict[str, Any] = {"low_rank": 9, "kronecker": 8, "tucker": (4, 4, 4, 5), "tt": 9}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("format", ROOM)
def test_room_for_more_ranks_changes_nothing(format: str, way: str) -> None:
    """Nor does a core whose singular values span many decades: nothing is divided by them."""
    layer = take(linear(format, tangent_grad=True, dtype=F64, max_rank=ROOM[format]), way)
    handle = named_low_rank(layer.factors)[""]
    with torch.no_grad():
        leaves = handle.manifold.leaves(handle.point())
        scales = 10.0 ** -torch.arange(leaves[handle.manifold.core].numel(), dtype=F64)
        leaves[handle.manifold.core] *= scales.clamp(min=1e-9).view_as(leaves[handle.manifold.core])
    x = vectors(30)
    for a, b in zip(gradients(layer, x)[1], expected(layer, x)[1], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * (1 + float(b.detach().abs().max())))


@pytest.mark.parametrize("format", ROOM)
def test_the_norm_of_the_gradient_is_that_of_the_projected_dense_one(format: str) -> None:
    layer, x = linear(format, tangent_grad=True, dtype=F64, bias=False), vectors(30)
    _, ours = gradients(layer, x)
    handle = named_low_rank(layer.factors)[""]
    _, (dense,) = gradients(layer.to_dense(), x)
    t = handle.manifold.project(handle.point(), layer.factors.folded(dense))
    norm = torch.stack([g.square().sum() for g in ours]).sum().sqrt()
    torch.testing.assert_close(norm, handle.manifold.norm(t), rtol=1e-12, atol=0)


@pytest.mark.parametrize("format", ROOM)
def test_a_graph_without_breaks_gives_the_same_gradients(format: str) -> None:
    options = {"tangent_grad": True, "dtype": F64}
    for layer, x in (
        (linear(format, max_rank=ROOM[format], **options), vectors(30)),
        (conv(format, groups=2, **options), images(3)),
    ):
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        for ours, theirs in zip(gradients(compiled, x), gradients(layer, x), strict=True):
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * (1 + float(b.detach().abs().max())))


MORE_MODES: dict[str, Any] = {
    "tucker": {"fold": ((2, 2, 5), (6, 4)), "rank": (2, 2, 3, 3, 2)},
    "tt": {"fold": ((2, 2, 5), (2, 3, 4))},
}


@pytest.mark.parametrize("format", ROOM)
def test_large_batches_more_modes_and_images_whose_channels_come_last(format: str) -> None:
    options = {"tangent_grad": True, "dtype": F64}
    for layer, x in (
        (linear(format, **options), vectors(200)),
        (linear(format, **MORE_MODES.get(format, {}), **options), vectors(3)),
        (conv(format, **options), images(3).contiguous(memory_format=torch.channels_last)),
    ):
        take(layer, "contracted")
        for ours, theirs in zip(gradients(layer, x), expected(layer, x), strict=True):
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * (1 + float(b.detach().abs().max())))


def test_without_tangent_grad_gradients_are_derivatives_by_the_factors() -> None:
    layer, x = linear("low_rank", dtype=F64), vectors(30).double()
    U, S, V = (leaf.detach().clone().requires_grad_() for leaf in layer.factors.leaves)
    y = x @ (U @ S @ V.mT).mT + layer.bias.detach()
    weights = torch.linspace(-1, 1, y.numel(), dtype=F64).view_as(y)
    theirs = torch.autograd.grad((y * weights).sum(), [U, S, V])
    for a, b in zip(gradients(layer, x)[1][1:], theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * float(b.detach().abs().max()))


def test_formats_that_are_no_manifold_have_no_tangent_coordinates() -> None:
    for make in (
        lambda: Linear(24, 20, 3, format="cp", tangent_grad=True),
        lambda: Embedding(24, 20, 3, format="cp", tangent_grad=True),
        lambda: Conv2d(8, 8, 3, 3, format="chain", tangent_grad=True),
    ):
        with pytest.raises(ValueError, match="no manifold"):
            make()
