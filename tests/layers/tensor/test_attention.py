import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from isometry.layers.tensor.kronecker_attention import KroneckerAttention2d
from isometry.layers.tensor.tensor_attention import (
    Monomials,
    TensorAttention,
    polynomial_tensor_attention,
    tensor_attention,
)
from isometry.layers.testing import LayerCase, LayerSuite


class TestTensorAttention(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda options=options: TensorAttention(4, 2, **options),
            lambda count: torch.randn(count, 5, 4),
            (5, 4),
            cond=256.0,  # exponentials, their sum, and five projections
            name=str(options),
        )
        for options in ({}, {"method": "polynomial", "degree": 2}, {"method": "polynomial"})
    )


class TestKroneckerAttention(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda mode=mode: KroneckerAttention2d(4, 2, mode),
            lambda count: torch.randn(count, 4, 3, 5),
            (4, 3, 5),
            cond=256.0,
            name=mode,
        )
        for mode in ("kv", "qkv")
    )


def five(n: int = 6, m: int = 5, l: int = 4, d: int = 3, scale: float = 1.0) -> list[Tensor]:  # noqa: E741
    shapes = [(n, d), (m, d), (l, d), (m, 2), (l, 2)]
    return [scale * torch.randn(2, *shape, dtype=torch.float64) for shape in shapes]


def test_it_is_attention_with_kronecker_products() -> None:
    """Ordinary attention, whose keys and values are the row-wise Kronecker products of the pairs, by loops."""
    q, k1, k2, v1, v2 = (t.numpy() for t in five())
    y = tensor_attention(*(torch.from_numpy(t) for t in (q, k1, k2, v1, v2))).numpy()
    for b in range(2):
        keys = np.stack([k1[b, j] * k2[b, k] for j in range(5) for k in range(4)])
        values = np.stack([v1[b, j] * v2[b, k] for j in range(5) for k in range(4)])
        for i in range(6):
            weights = np.exp(keys @ q[b, i] / 3)
            assert np.allclose(y[b, i], weights @ values / weights.sum(), rtol=0, atol=1e-14)


def test_monomials_make_the_taylor_polynomial() -> None:
    x, y = torch.randn(2, 5, 3, dtype=torch.float64)
    for degree in (1, 2, 5):
        monomials = Monomials(3, degree)
        assert monomials(x).shape == (5, math.comb(3 + degree, degree))
        s = x @ y.mT / 3
        expected = sum(s**g / math.factorial(g) for g in range(degree + 1))
        assert torch.allclose((monomials(x) * monomials.coefficients) @ monomials(y).mT, expected, rtol=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 6, 8])
def test_the_polynomial_form_converges_as_its_bound_says(degree: int) -> None:
    parts = five(scale=0.7)
    exact = tensor_attention(*parts)
    largest = torch.einsum("bnd,bmd,bld->bnml", *parts[:3]).abs().max() / 3
    error = polynomial_tensor_attention(*parts, Monomials(3, degree)) - exact
    remainder = largest.exp() * largest ** (degree + 1) / math.factorial(degree + 1)
    values = (parts[3].abs().amax() * parts[4].abs().amax()).item()
    assert error.abs().max() < 3 * remainder * largest.exp() * values
    if degree == 8:
        assert error.abs().max() < 1e-6


def test_the_polynomial_form_never_has_the_pairs() -> None:
    """4,000 tokens, of whose triples the exact form would need 500 gigabytes."""
    parts = [0.3 * torch.randn(1, 4000, 4) for _ in range(5)]
    assert polynomial_tensor_attention(*parts, Monomials(4, 2)).isfinite().all()


def test_layers_of_both_methods_agree_for_small_scores() -> None:
    exact, poly = TensorAttention(8, 2).double(), TensorAttention(8, 2, "polynomial", 6).double()
    poly.load_state_dict(exact.state_dict())
    x = 0.3 * torch.randn(3, 7, 8, dtype=torch.float64)
    assert torch.allclose(exact(x), poly(x), rtol=0, atol=1e-8)


def test_it_sees_triples_that_ordinary_attention_does_not() -> None:
    """Whether a sum of three tokens is 0 modulo 3 is in the third-order product of their characters only."""
    angle = 2 * math.pi / 3 * torch.arange(3).double()
    characters = torch.stack([angle.cos(), angle.sin()], -1)
    # Re (z1 z2 z3) in four terms of real products.
    q = 3e2 * torch.stack([characters[:, 0], -characters[:, 0], -characters[:, 1], -characters[:, 1]], -1)
    k1 = torch.stack([characters[:, 0], characters[:, 1], characters[:, 0], characters[:, 1]], -1)
    k2 = torch.stack([characters[:, 0], characters[:, 1], characters[:, 1], characters[:, 0]], -1)
    one_hot = torch.eye(3).double()
    y = tensor_attention(q, k1, k2, one_hot, torch.ones(3, 3).double())
    assert torch.allclose(y, torch.full((3, 3), 1 / 3).double(), atol=1e-12)  # each j has its k
    both = tensor_attention(q, k1, k2, one_hot, one_hot)  # of pairs with j = k only the one with i + 2 j = 0
    assert torch.equal(both.argmax(-1), torch.arange(3))
    assert (both > 0.3).sum() == 3


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("mode", ["kv", "qkv"])
def test_kronecker_attention_is_attention_to_rows_and_columns(mode: str, heads: int) -> None:
    layer = KroneckerAttention2d(4, heads, mode, dtype=torch.float64)
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    rows = [x[:, :, i].mean(-1) for i in range(3)]
    columns = [x[:, :, :, j].mean(-1) for j in range(5)]
    context = torch.stack(rows + columns, 1)
    places = torch.stack([x[:, :, i, j] for i in range(3) for j in range(5)], 1)

    def apart(layer: nn.Module, tokens: Tensor) -> Tensor:
        return layer(tokens).view(2, -1, heads, 4 // heads).transpose(1, 2)

    query = apart(layer.query, places if mode == "kv" else context)
    y = scaled_dot_product_attention(query, apart(layer.key, context), apart(layer.value, context))
    y = y.transpose(1, 2).reshape(2, -1, 4)
    image = layer(x)
    for i in range(3):
        for j in range(5):
            token = y[:, 5 * i + j] if mode == "kv" else y[:, i] + y[:, 3 + j]
            assert torch.allclose(image[:, :, i, j], layer.out(token), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorAttention(4, 3), "expected heads that divide dim=4, but got heads=3"),
        (lambda: TensorAttention(4, 2, "sparse"), "expected the method 'exact' or 'polynomial'"),
        (lambda: TensorAttention(4, 2, "polynomial", 0), "expected a positive dimension and degree"),
        (lambda: KroneckerAttention2d(4, 3), "expected heads that divide channels=4"),
        (lambda: KroneckerAttention2d(4, 1, "q"), "expected the mode 'kv' or 'qkv'"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
