import pytest
import torch
from torch import Tensor, nn

from isometry.layers.tensor import Conv2d, Linear
from isometry.layers.testing import LayerCase, LayerSuite
from tests.layers.tensor.tensor_cases import CONV, LINEAR, WAYS, conv, embedding, images, indices, linear, take, vectors

F64 = torch.float64


class TestTensorLayers(LayerSuite):
    cases = (
        *(LayerCase(lambda f=f: linear(f), vectors, (20,), cond=256.0, name=f"linear {f}") for f in LINEAR),
        *(LayerCase(lambda f=f: embedding(f), indices, (24,), cond=256.0, name=f"embedding {f}") for f in LINEAR),
        *(LayerCase(lambda f=f: conv(f, padding=1), images, (18, 7, 7), cond=256.0, name=f"conv {f}") for f in CONV),
        LayerCase(lambda: conv("tt", 1), lambda n: images(n, 1), (18, 5), cond=256.0, name="conv along one way"),
        LayerCase(
            lambda: conv("tucker", 3), lambda n: images(n, 3), (18, 5, 5, 3), cond=256.0, name="along three ways"
        ),
        LayerCase(lambda: linear("low_rank", max_rank=5, bias=False), vectors, (20,), name="room for more"),
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("format", LINEAR)
def test_linear_layers_and_tables_are_their_dense_twins(format: str, way: str) -> None:
    for layer, x in (
        (linear(format, dtype=F64), torch.randn(3, 50, 24, dtype=F64)),
        (embedding(format, dtype=F64), indices(40)),
    ):
        _assert_same(take(layer, way)(x), layer.to_dense()(x))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("format", LINEAR)
@pytest.mark.parametrize("count", [1, 200])  # formats may contract small and large batches differently
def test_batches_of_any_size(format: str, way: str, count: int) -> None:
    layer, x = linear(format, dtype=F64), torch.randn(count, 24, dtype=F64)
    _assert_same(take(layer, way)(x), layer.to_dense()(x))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"groups": 2, "padding": 2},
        {"groups": 3, "padding": "same", "dilation": 2},
        {"stride": 2, "padding": 1, "bias": False},
        {"padding": 2, "padding_mode": "circular"},
        {"padding": "same", "padding_mode": "reflect"},
        {"padding": "valid", "dilation": 2, "groups": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("ways", [1, 2, 3])
@pytest.mark.parametrize("format", CONV)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_convolutions_are_their_dense_twins(format: str, ways: int, options: dict[str, object]) -> None:
    rank = {1: 2, 2: (4, 3, 2), 3: (4, 3, 2)}[ways] if format == "tucker" else 3
    layer, x = conv(format, ways, rank=rank, dtype=F64, **options), images(2, ways).double()
    twin = layer.to_dense()
    for way in WAYS:
        _assert_same(take(layer, way)(x), twin(x))


def test_a_group_that_cuts_a_kronecker_factor_is_computed_from_the_assembled_kernel() -> None:
    layer, x = conv("kronecker", groups=2, fold=((3, 6), (2, 3)), dtype=F64), images(2).double()
    _assert_same(layer(x), layer.to_dense()(x))


@pytest.mark.parametrize("format", CONV)
def test_the_variance_of_new_outputs_is_that_of_the_dense_layer(format: str) -> None:
    """1/3, by PyTorch's initialisation without bias, in the mean over draws of the weight."""
    x, image = torch.randn(2000, 64), torch.randn(4, 16, 20, 20)
    outputs = {"conv": lambda: square_conv(format)(image)}
    if format != "chain":
        outputs["linear"] = lambda: Linear(64, 48, 4, format=format, bias=False)(x)
    for make in outputs.values():
        variances = [float(make().detach().var()) for _ in range(60)]
        spread = torch.tensor(variances).std() / 60**0.5
        assert abs(sum(variances) / 60 - 1 / 3) < 4 * float(spread) + 0.01


def square_conv(format: str) -> nn.Module:
    return Conv2d(16, 24, 3, 4, format=format, bias=False)


def test_new_tables_have_entries_of_variance_1() -> None:
    for format in ("low_rank", "tucker", "tt"):
        table = embedding(format).to_dense().weight.detach()
        assert float(table.square().mean()) == pytest.approx(1, abs=1e-5)


def _assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-13 * float(b.detach().abs().max()))
