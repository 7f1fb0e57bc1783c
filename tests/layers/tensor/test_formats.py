"""What is particular to a format, the kept weight, number formats and bad input."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from isometry.layers.tensor import Conv2d, Embedding, Linear
from isometry.manifolds import ShapeError
from tests.layers.tensor.tensor_cases import CONV, LINEAR, conv, images, linear, vectors

F64 = torch.float64


def test_a_kronecker_layer_is_a_sum_of_kronecker_products() -> None:
    layer, x = (
        Linear(12, 20, 3, format="kronecker", fold=((5, 4), (2, 6)), bias=False, dtype=F64),
        torch.randn(9, 12, dtype=F64),
    )
    U, S, V = (leaf.detach() for leaf in layer.factors.leaves)
    A, B = (U @ S).mT.reshape(3, 5, 2), V.mT.reshape(3, 4, 6)
    w = sum(np.kron(a.numpy(), b.numpy()) for a, b in zip(A, B, strict=True))
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy() @ w.T, rtol=0, atol=1e-13)


def hamilton(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """The product of quaternions 1, i, j, k, from the table of Hamilton 1843."""
    a, b, c, d = p.unbind(-1)
    e, f, g, h = q.unbind(-1)
    return torch.stack(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ],
        -1,
    )


def test_products_with_quaternions_are_a_hypercomplex_layer_of_4() -> None:
    """``y_o = sum_i q_(o i) x_i`` with vectors of quaternions has 4 Kronecker terms, which a layer of rank 4 finds."""
    q, x = torch.randn(3, 5, 4, dtype=F64), torch.randn(7, 5, 4, dtype=F64)
    y = hamilton(q, x.unsqueeze(1)).sum(2)
    dense = nn.Linear(20, 12, bias=False, dtype=F64)
    columns = torch.eye(20, dtype=F64).view(20, 1, 4, 5).movedim(2, -1)  # one input at a time, parts outside
    dense.weight.data.copy_(hamilton(q, columns).sum(2).movedim(-1, 1).reshape(20, 12).mT)
    layer = Linear.from_dense(dense, ranks=4, format="kronecker", fold=((4, 3), (4, 5)))
    assert sum(p.numel() for p in layer.factors.parameters()) < 12 * 20
    ours = layer(x.mT.reshape(7, 20)).view(7, 4, 3).mT
    torch.testing.assert_close(ours, y, rtol=0, atol=1e-12)
    assert Linear.from_dense(dense, tol=1e-9, format="kronecker", fold=((4, 3), (4, 5))).factors.ranks.tolist() == [
        4,
        4,
    ]


@pytest.mark.parametrize("change", ["in place", "load", "assign", "optimizer", "replace", "convert", "functional"])
def test_the_kept_weight_follows_every_change_of_the_factors(change: str) -> None:
    layer, x = _keeping(), torch.randn(512, 24)
    other = _keeping()
    with torch.no_grad():
        layer(x)
        assert layer._kept is not None
        kept = layer._kept[1]
        assert layer(x) is not None
        assert layer._kept[1] is kept
        if change == "in place":
            layer.factors.U.mul_(2)
        elif change in ("load", "assign"):
            layer.load_state_dict(other.state_dict(), assign=change == "assign")
        elif change == "replace":
            layer.factors.U = nn.Parameter(2 * layer.factors.U)
        elif change == "convert":
            layer.half().float()
    if change == "optimizer":
        layer(x[:1]).square().sum().backward()
        torch.optim.SGD(layer.parameters(), lr=0.1).step()
    with torch.no_grad():
        if change == "functional":
            moved = {name: 2 * p for name, p in layer.named_parameters()}
            ours = torch.func.functional_call(layer, moved, (x,))
            layer.load_state_dict(moved, strict=False)
        else:
            ours = layer(x)
        torch.testing.assert_close(ours, layer.to_dense()(x), rtol=0, atol=1e-4)


def _keeping() -> Any:
    return Linear(24, 20, 20, fold=None).eval()


def test_the_kept_weight_is_neither_saved_nor_copied_and_training_keeps_none() -> None:
    layer, x = _keeping(), torch.randn(512, 24)
    with torch.no_grad():
        layer(x)
        assert copy.deepcopy(layer)._kept is None
        assert layer.train()._kept is None
        layer(x)
    assert layer._kept is None
    assert layer.eval()(x).requires_grad


@pytest.mark.parametrize("tangent_grad", [False, True])
@pytest.mark.parametrize("format", CONV)
def test_autocast(format: str, tangent_grad: bool) -> None:
    """Outputs in bfloat16, gradients in the format of the factors, both near those in float32."""
    if tangent_grad and format in ("cp", "chain"):
        tangent_grad = False
    pairs = [(conv(format, tangent_grad=tangent_grad), images(4))]
    if format != "chain":
        pairs.append((linear(format, tangent_grad=tangent_grad), vectors(32)))
    for layer, x in pairs:
        results = []
        for enabled in (False, True):
            layer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                y = layer(x)
            assert y.dtype == (torch.bfloat16 if enabled else torch.float32)
            y.float().square().mean().backward()
            results.append([y.detach().float(), *(p.grad for p in layer.parameters())])
        for exact, rough in zip(*results, strict=True):
            assert rough.dtype == torch.float32
            assert float((exact - rough).norm()) <= 0.05 * float(exact.norm()) + 1e-3


@pytest.mark.parametrize("format", LINEAR)
def test_empty_batches(format: str) -> None:
    assert linear(format)(torch.randn(0, 24)).shape == (0, 20)
    assert linear(format)(torch.randn(2, 0, 24)).shape == (2, 0, 20)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Linear(8, 6, 7), ValueError, "expected ranks between 1 and"),
        (lambda: Linear(8, 6, 0), ValueError, "expected ranks between 1 and"),
        (lambda: Linear(8, 6, 2, max_rank=9), ValueError, "expected ranks between 1 and"),
        (lambda: Linear(8, 6, 3, max_rank=2), ValueError, "room"),
        (lambda: Linear(8, 6, (2, 2), format="cp"), ValueError, "one number of terms"),
        (lambda: Linear(8, 6, 2, format="tucker", fold=((2, 2), (2, 4))), ShapeError, "multiply to 6 rows"),
        (lambda: Linear(8, 6, 2, format="tt", fold=((6,), (8,))), ShapeError, "at least two"),
        (lambda: Linear(8, 6, 2, format="kronecker", fold=((3, 2, 1), (2, 4))), ValueError, "two modes each"),
        (lambda: Linear(8, 6, 2, fold=((3, 2), (2, 4))), ValueError, "expected no fold"),
        (lambda: Linear(8, 6, 2, format="chain"), ValueError, "use the format 'cp'"),
        (lambda: Linear(8, 6, 2, format="ring"), ValueError, "expected one of the formats"),
        (lambda: Conv2d(8, 6, 3, 2, fold=((3, 2), (2, 4))), ValueError, "expected no fold"),
        (lambda: Conv2d(8, 6, 3, 2, groups=4), ShapeError, "groups that divide"),
        (lambda: Conv2d(8, 6, (3, 3, 3), 2), ShapeError, "one for each way"),
        (lambda: Conv2d(8, 6, 3, 2, padding="same", stride=2), ValueError, "stride 1"),
        (lambda: Conv2d(8, 6, 3, 2, padding="some"), ValueError, "'same', 'valid' or numbers"),
        (lambda: Conv2d(8, 6, 3, 2, padding_mode="wrap"), ValueError, "expected one of"),
        (lambda: Embedding(8, 6, 7), ValueError, "expected ranks between 1 and"),
    ],
)
def test_bad_arguments_are_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
