import copy
from typing import Any

import pytest
import torch
from torch import nn

from isometry.layers.tensor import Conv1d, Conv2d, Conv3d, Embedding, Linear
from isometry.layers.tensor.layer import TensorLayer

F64 = torch.float64
DENSE: dict[str, Any] = {
    "linear": (Linear, lambda: nn.Linear(24, 20, dtype=F64), lambda: torch.randn(9, 24, dtype=F64)),
    "embedding": (Embedding, lambda: nn.Embedding(20, 24, dtype=F64), lambda: torch.randint(20, (9,))),
    "conv1d": (
        Conv1d,
        lambda: nn.Conv1d(6, 8, 5, stride=2, padding=2, dilation=2, groups=2, dtype=F64),
        lambda: torch.randn(2, 6, 30, dtype=F64),
    ),
    "conv2d": (
        Conv2d,
        lambda: nn.Conv2d(6, 8, (3, 2), padding=1, stride=(2, 1), dtype=F64),
        lambda: torch.randn(2, 6, 9, 8, dtype=F64),
    ),
    "conv3d": (
        Conv3d,
        lambda: nn.Conv3d(4, 6, 2, padding="same", padding_mode="circular", bias=False, dtype=F64),
        lambda: torch.randn(2, 4, 5, 4, 3, dtype=F64),
    ),
}
FORMATS = ("low_rank", "kronecker", "tucker", "tt")


def error(layer: TensorLayer, dense: Any) -> float:
    w = dense.weight.detach()
    return float(((layer.to_dense().weight - w).norm() / w.norm()).detach())


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("format", FORMATS)
def test_at_full_rank_it_is_the_dense_layer(kind: str, format: str) -> None:
    cls, make, inputs = DENSE[kind]
    dense, x = make(), inputs()
    layer = cls.from_dense(dense, tol=0.0, format=format)
    torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=1e-12)
    assert repr(layer.to_dense()) == repr(dense)


@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("format", FORMATS)
def test_the_error_is_within_the_tolerance_and_the_parameters_within_the_budget(kind: str, format: str) -> None:
    cls, make, _ = DENSE[kind]
    dense = make()
    for tol in (0.1, 0.5):
        assert error(cls.from_dense(dense, tol=tol, format=format), dense) <= tol
    for budget in (150, 250):
        layer = cls.from_dense(dense, budget=budget, format=format)
        assert sum(p.numel() for p in layer.factors.parameters()) <= budget
        assert error(layer, dense) < 1


@pytest.mark.parametrize("kind", ["linear", "conv2d"])
def test_cp_finds_planted_terms_and_keeps_tolerance_and_budget(kind: str) -> None:
    cls, make, inputs = DENSE[kind]
    planted = _planted(cls, kind)
    dense, x = planted.to_dense(), inputs()
    layer = cls.from_dense(dense, tol=1e-3, format="cp")
    assert layer.factors.terms <= 2
    assert error(layer, dense) <= 1e-3
    torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=1e-2)
    rough = make()
    small = cls.from_dense(rough, budget=100, format="cp")
    assert sum(p.numel() for p in small.factors.parameters()) <= 100
    assert error(cls.from_dense(rough, tol=0.5, format="cp"), rough) <= 0.5


def _planted(cls: Any, kind: str) -> TensorLayer:
    if kind == "linear":
        return cls(24, 20, 2, format="cp", dtype=F64)
    return cls(6, 8, (3, 2), 2, format="cp", padding=1, stride=(2, 1), dtype=F64)


def test_a_chain_from_a_dense_layer_is_the_same_tensor_as_cp() -> None:
    dense, x = nn.Conv2d(6, 8, 3, dtype=F64), torch.randn(2, 6, 9, 8, dtype=F64)
    layers = []
    for format in ("chain", "cp"):
        torch.manual_seed(1)  # where alternating least squares start
        layers.append(Conv2d.from_dense(dense, ranks=4, format=format))
    chain, cp = layers
    torch.testing.assert_close(chain(x), cp(x), rtol=0, atol=1e-10)


def test_terms_do_not_grow_where_no_best_approximation_exists() -> None:
    """The border-rank tensor aab + aba + baa at 2 terms: with the correction the sensitivity stays small."""
    from isometry.manifolds.low_rank.cp import cp_als, sensitivity

    a, b = torch.eye(4, dtype=F64)[:2]
    w = sum(torch.einsum("i,j,k->ijk", *v) for v in ((a, a, b), (a, b, a), (b, a, a)))
    dense = nn.Conv1d(4, 4, 4, bias=False, dtype=F64)
    dense.weight.data.copy_(w)
    layer = Conv1d.from_dense(dense, ranks=2, tol=0.05, format="cp")
    assert error(layer, dense) <= 0.05
    assert float(sensitivity(layer.factors.leaves).detach()) < 0.5 * float(sensitivity(cp_als(w, 2).factors))


@pytest.mark.parametrize("format", FORMATS)
def test_layers_convert_to_other_ranks_within_the_tolerance(format: str) -> None:
    dense = nn.Linear(24, 20, dtype=F64)
    first = Linear.from_dense(dense, tol=0.3, format=format)
    second = Linear.from_dense(first.to_dense(), tol=0.3, format=format, max_rank=first.factors.manifold.full_ranks)
    assert error(second, first.to_dense()) <= 0.3
    assert sum(second.factors.ranks.tolist()) <= sum(first.factors.ranks.tolist())


def test_modes_of_any_number() -> None:
    dense, x = nn.Linear(24, 30, dtype=F64), torch.randn(5, 24, dtype=F64)
    for format, fold in (("tucker", ((5, 3, 2), (24,))), ("tt", ((5, 3, 2), (2, 3, 4))), ("tucker", ((30,), (24,)))):
        layer = Linear.from_dense(dense, tol=0.0, format=format, fold=fold)
        torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=1e-12)


def test_a_prime_size_is_one_mode() -> None:
    dense, x = nn.Linear(13, 7, dtype=F64), torch.randn(5, 13, dtype=F64)
    for format in FORMATS:
        layer = Linear.from_dense(dense, tol=0.0, format=format)
        torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=1e-12)


def test_half_precision_weights_are_decomposed_in_single_precision() -> None:
    dense = nn.Linear(24, 20).bfloat16()
    layer = Linear.from_dense(dense, ranks=20)
    assert layer.factors.U.dtype == torch.bfloat16
    assert error(copy.deepcopy(layer).float(), copy.deepcopy(dense).float()) < 0.02


def test_what_cannot_be_converted_is_refused() -> None:
    with pytest.raises(ValueError, match="without padding_idx"):
        Embedding.from_dense(nn.Embedding(9, 4, padding_idx=0), ranks=2)
    with pytest.raises(ValueError, match="expected ranks, tol or budget"):
        Linear.from_dense(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="expected a budget or ranks and tol"):
        Linear.from_dense(nn.Linear(4, 4), ranks=2, budget=9)
    with pytest.raises(ValueError, match="expected a budget or ranks and tol"):
        Linear.from_dense(nn.Linear(4, 4), ranks=2, budget=9, format="cp")
    with pytest.raises(ValueError, match="budget of at least 8 parameters, those of one term"):
        Linear.from_dense(nn.Linear(4, 4), budget=7, format="cp")
