import copy

import pytest
import torch
from torch import nn

from isometry.layers.tensor import Conv2d, Embedding, Linear, tensorize


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(16, 16, 3, stride=2), nn.BatchNorm2d(16)),
        nn.Flatten(),
        nn.Linear(144, 32),
        nn.Linear(32, 5),
    ).double()


def test_layers_are_replaced_by_those_that_compute_nearly_the_same() -> None:
    model, x = network(), torch.randn(4, 3, 7, 7, dtype=torch.float64)
    dense = copy.deepcopy(model)
    assert tensorize(model, tol=1e-12) is model
    torch.testing.assert_close(model(x), dense(x), rtol=0, atol=1e-9)
    assert tensorize(model, {"5": None}, budget=0.25) is model
    assert [type(model[k]) for k in (0, 4, 5)] == [Conv2d, Linear, nn.Linear]
    assert type(model[2][0]) is Conv2d
    assert sum(p.numel() for p in model[4].factors.parameters()) <= 0.25 * 144 * 32


def test_options_by_name_take_the_place_of_the_common_ones() -> None:
    model = tensorize(
        network(), {"2.*": {"ranks": (4, 4, 3)}, "4": {"format": "kronecker"}}, budget=0.25, tangent_grad=True
    )
    assert model[2][0].factors.get_buffer("ranks").tolist() == [4, 4, 3]
    assert model[4].format == "kronecker"
    assert model[4].factors.tangent_grad


def test_a_layer_that_would_not_be_smaller_stays() -> None:
    dense = nn.Linear(8, 8)
    assert tensorize(dense, tol=1e-9) is dense


def test_a_layer_by_itself_and_one_used_twice() -> None:
    assert isinstance(tensorize(nn.Embedding(30, 8), budget=0.5), Embedding)
    layer = nn.Linear(8, 8)
    model = tensorize(nn.Sequential(layer, nn.ReLU(), layer), ranks=2)
    assert model[0] is model[2]
    assert isinstance(model[0], Linear)


def test_subclasses_stay() -> None:
    attention = nn.MultiheadAttention(8, 2)
    assert isinstance(tensorize(nn.Sequential(attention), ranks=2)[0].out_proj, nn.Linear)


def test_what_is_not_clear_is_refused() -> None:
    tied = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False))
    tied[1].weight = tied[0].weight
    with pytest.raises(ValueError, match="share one weight"):
        tensorize(tied, ranks=2)
    with pytest.raises(ValueError, match="expected names of layers"):
        tensorize(network(), {"head": None}, ranks=2)
    with pytest.raises(ValueError, match="a share of the weight, but got 100"):
        tensorize(network(), budget=100)
