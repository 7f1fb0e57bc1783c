from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from isometry.layers.tensor.contraction import TensorContraction
from isometry.layers.tensor.regression import TensorRegression
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import ShapeError, named_manifolds
from isometry.manifolds.low_rank import named_low_rank
from isometry.trainers.optim import RiemannianAdam


class TestTensorContraction(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda n=n, r=r, o=o: TensorContraction(n, r, orthogonal=o),
            lambda count, n=n: torch.randn(count, *n),
            r,
            name=f"{n} to {r}{', orthogonal' if o else ''}",
        )
        for n, r, o in [((4, 5, 3), (2, 3, 2), False), ((6,), (4,), False), ((4, 3, 1), (2, 3, 1), True)]
    )


class TestTensorRegression(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda n=n, o=o, options=options: TensorRegression(n, o, **options),
            lambda count, n=n: torch.randn(count, *n),
            o,
            name=f"{n} to {o}, {options}",
        )
        for n, o, options in [
            ((4, 3), (5,), {"rank": 2}),
            ((4, 3, 2), (3, 2), {"rank": 2, "format": "cp"}),
            ((4, 3), (5,), {"rank": 2, "dropout": 0.3}),
            ((4, 3), (5,), {"rank": 3, "dropout": 0.3, "format": "cp"}),
        ]
    )


def test_a_contraction_is_that_with_the_kronecker_product() -> None:
    layer = TensorContraction((4, 5, 3), (2, 3, 2), dtype=torch.float64)
    x = torch.randn(6, 4, 5, 3, dtype=torch.float64)
    U, V, W = (layer.get_parameter(f"U{k}").detach().numpy() for k in range(3))
    matrix = np.kron(np.kron(U, V), W)
    expected = (x.numpy().reshape(6, -1) @ matrix).reshape(6, 2, 3, 2) + layer.bias.detach().numpy()
    assert np.allclose(layer(x).detach().numpy(), expected, rtol=0, atol=1e-13)
    assert np.allclose(matrix.T @ matrix, np.eye(12), rtol=0, atol=1e-13)


def test_orthogonal_factors_stay_orthonormal() -> None:
    layer = TensorContraction((4, 3, 1), (2, 3, 1), orthogonal=True, dtype=torch.float64)
    assert named_manifolds(layer).keys() == {"U0", "U1"}
    steps = RiemannianAdam(layer, lr=0.05)
    x = torch.randn(6, 4, 3, 1, dtype=torch.float64)
    losses = []
    for _ in range(20):
        steps.zero_grad()
        loss = (layer(x) - x[:, :2]).square().mean()
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    for name in ("U0", "U1"):
        U = layer.get_parameter(name).detach()
        assert torch.allclose(U.mT @ U, torch.eye(U.shape[1]).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("format", "rank"), [("tucker", (2, 2, 2, 3)), ("cp", 5)])
@pytest.mark.parametrize("count", [1, 500])
def test_a_regression_is_the_full_contraction(format: str, rank: Any, count: int) -> None:
    layer = TensorRegression((4, 5), (3, 2), format=format, rank=rank, dtype=torch.float64)
    x = torch.randn(count, 4, 5, dtype=torch.float64)
    leaves = [leaf.detach().numpy() for leaf in layer.linear.factors.leaves]
    w = np.einsum("abcd,xa,yb,ic,jd->xyij" if format == "tucker" else "xr,yr,ir,jr->xyij", *leaves)
    expected = np.einsum("nij,xyij->nxy", x.numpy(), w) + layer.linear.bias.detach().numpy().reshape(3, 2)
    assert np.allclose(layer(x).detach().numpy(), expected, rtol=0, atol=1e-12)
    assert torch.allclose(layer.to_dense()(x.flatten(1)).view(-1, 3, 2), layer(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"rank": 4}, {"rank": 8, "format": "cp"}], ids=str)
def test_outputs_start_with_the_variance_of_a_linear_layer(options: Any) -> None:
    x = torch.randn(200, 8, 8)
    layers = [TensorRegression((8, 8), (16,), **options, bias=False) for _ in range(50)]
    outputs = torch.stack([layer(x) for layer in layers])
    assert outputs.var().item() == pytest.approx(1 / 3, rel=0.2)


def test_a_linear_layer_converts_within_its_tolerance() -> None:
    linear = nn.Linear(20, 6, dtype=torch.float64)
    x = torch.randn(7, 4, 5, dtype=torch.float64)
    exact = TensorRegression.from_dense(linear, (4, 5), (6,), tol=0.0)
    assert torch.allclose(exact(x), linear(x.flatten(1)), rtol=0, atol=1e-12)
    rough = TensorRegression.from_dense(linear, (4, 5), (6,), tol=0.4).to_dense()
    assert 0 < (rough.weight - linear.weight).norm() <= 0.4 * linear.weight.norm()
    small = TensorRegression.from_dense(linear, (4, 5), (6,), budget=60)
    assert sum(p.numel() for p in small.linear.factors.parameters()) <= 60


def test_it_is_a_point_of_the_manifold_of_its_ranks() -> None:
    layer = TensorRegression((4, 5), (3,), rank=2, tangent_grad=True)
    (handle,) = named_low_rank(layer).values()
    assert handle.ranks == (2, 2, 2)
    assert handle.manifold.shape == (3, 4, 5)
    assert handle.tangent_grad


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorContraction((4, 5), (2,)), "with as many modes as in_shape"),
        (lambda: TensorContraction((4,), (5,)), "each between 1 and that of in_shape"),
        (lambda: TensorRegression((4,), (5,), rank=2, format="tt"), "expected the format 'tucker' or 'cp'"),
        (lambda: TensorRegression((4,), (5,), rank=9), "expected ranks between 1 and"),
        (lambda: TensorRegression((4,), (5,), rank=2, dropout=0.1, tangent_grad=True), "expected dropout=0 with"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("layer", [TensorContraction((4, 5), (2, 2)), TensorRegression((4, 5), (2,), rank=2)], ids=str)
def test_other_shapes_are_refused(layer: nn.Module) -> None:
    with pytest.raises(ShapeError, match=r"expected \[b, \*\(4, 5\)\], but got \[3, 5, 4\]"):
        layer(torch.randn(3, 5, 4))


@pytest.mark.peers
@pytest.mark.parametrize("factorization", ["tucker", "cp"])
def test_tensorly_torch_agrees(factorization: str) -> None:
    from tltorch import TCL, TRL

    x = torch.randn(6, 4, 5)
    peer = TRL((4, 5), (3,), bias=True, factorization=factorization, rank=4)
    ours = TensorRegression((4, 5), (3,), format=factorization, rank=1)
    factors = [peer.weight.factors[k].detach() for k in (2, 0, 1)]
    if factorization == "tucker":
        factors.insert(0, peer.weight.core.detach().permute(2, 0, 1))
    else:
        factors[0] = factors[0] * peer.weight.weights
    for name, factor in zip(ours.linear.factors.names, factors, strict=True):
        setattr(ours.linear.factors, name, nn.Parameter(factor.clone()))
    ours.linear.bias.data = peer.bias.detach().clone()
    assert torch.allclose(ours(x), peer(x), rtol=0, atol=1e-4 * peer(x).abs().max().item())

    tcl, contraction = TCL((4, 5), (2, 3)), TensorContraction((4, 5), (2, 3), bias=False)
    for k in range(2):
        contraction.get_parameter(f"U{k}").data = tcl.factors[k].detach().mT.clone()
    assert torch.allclose(contraction(x), tcl(x), rtol=0, atol=1e-5)
