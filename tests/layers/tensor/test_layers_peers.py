"""The layers of tensorly-torch at the same factors."""

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.layers.tensor import Conv2d, Conv3d, Linear
from isometry.layers.tensor.layer import TensorLayer

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]
F64 = torch.float64
OUT, IN = (4, 6), (3, 8)


def tltorch() -> Any:
    return importlib.import_module("tltorch")


def give(parameters: Any, leaves: list[Tensor]) -> None:
    """Write our factors into the peer's parameters."""
    for p, leaf in zip(parameters, leaves, strict=True):
        with torch.no_grad():
            p.copy_(leaf.reshape(p.shape))


@pytest.mark.parametrize("implementation", ["factorized", "reconstructed"])
@pytest.mark.parametrize("format", ["cp", "tucker", "tt"])
def test_linear_layers(format: str, implementation: str) -> None:
    rank: Any = {"cp": 5, "tucker": (3, 4, 2, 5), "tt": 5}[format]
    ours = Linear(24, 24, rank, format=format, fold=(OUT, IN), dtype=F64)
    theirs = tltorch().FactorizedLinear(
        IN,
        OUT,
        factorization="blocktt" if format == "tt" else format,
        rank=(1, 5, 1) if format == "tt" else rank,
        implementation=implementation,
        dtype=F64,
    )
    leaves = [leaf.detach() for leaf in ours.factors.leaves]
    weight = theirs.weight
    if format == "cp":
        weight.weights.data.fill_(1)
        give(weight.factors, leaves)
    elif format == "tucker":
        give([weight.core, *weight.factors], leaves)
    else:
        give(weight.factors, leaves)
    theirs.bias.data.copy_(ours.bias)
    _assert_same(ours, theirs, torch.randn(7, 24, dtype=F64))


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": 2, "dilation": 2}], ids=str)
@pytest.mark.parametrize("format", ["cp", "chain", "tucker"])
def test_convolutions(format: str, options: dict[str, Any]) -> None:
    rank: Any = (5, 4, 6) if format == "tucker" else 5
    ours = Conv2d(6, 8, 3, rank, format=format, dtype=F64, **options)
    theirs = (
        tltorch()
        .FactorizedConv(
            6,
            8,
            3,
            order=2,
            factorization="tucker" if format == "tucker" else "cp",
            rank=(5, 4, 3, 3) if format == "tucker" else 5,
            implementation="factorized",
            bias=True,
            **options,
        )
        .double()
    )
    leaves = [leaf.detach() for leaf in ours.factors.leaves]
    if format == "tucker":  # its kernel has two modes: give it ours whole
        core, U_out, U_in, U_places = leaves
        eye = torch.eye(3, dtype=F64)
        give([theirs.weight.core, *theirs.weight.factors], [core @ U_places.mT, U_out, U_in, eye, eye])
    else:
        theirs.weight.weights.data.fill_(1)
        give(theirs.weight.factors, leaves)
    theirs.bias.data.copy_(ours.bias)
    _assert_same(ours, theirs, torch.randn(2, 6, 9, 8, dtype=F64))


def test_convolutions_in_three_dimensions() -> None:
    ours = Conv3d(4, 6, (3, 2, 3), 5, format="cp", padding=1, dtype=F64)
    theirs = (
        tltorch().FactorizedConv(4, 6, (3, 2, 3), order=3, factorization="cp", rank=5, padding=1, bias=True).double()
    )
    theirs.weight.weights.data.fill_(1)
    give(theirs.weight.factors, [leaf.detach() for leaf in ours.factors.leaves])
    theirs.bias.data.copy_(ours.bias)
    _assert_same(ours, theirs, torch.randn(2, 4, 5, 6, 7, dtype=F64))


def _assert_same(ours: TensorLayer, theirs: nn.Module, x: Tensor) -> None:
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
