import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.layers.tensor.dropout import TensorDropout
from isometry.layers.tensor.regression import TensorRegression
from isometry.layers.testing import LayerCase, LayerSuite


class TestTensorDropout(LayerSuite):
    """A core has no batch: its first dimension is a mode. In training every entry is dropped by chance."""

    cases = (
        LayerCase(lambda: TensorDropout(0.5), lambda count: torch.randn(count, 3, 2), (3, 2), name="training"),
        LayerCase(lambda: TensorDropout(0.5).eval(), lambda count: torch.randn(count, 3), (3,), name="eval"),
    )
    test_derivatives_are_finite_where_points_coincide = None


def enumerated(evaluate: Callable[[], Tensor], p: float, sizes: list[int], patch: pytest.MonkeyPatch) -> Tensor:
    """The mean over all masks, each with its probability."""
    total: Tensor | float = 0.0
    for bits in itertools.product([0.0, 1.0], repeat=sum(sizes)):
        masks = iter(torch.tensor(bits, dtype=torch.float64).split(sizes))
        drawn: list[Tensor] = []

        def bernoulli(probabilities: Tensor, masks: Any = masks, drawn: list[Tensor] = drawn) -> Tensor:
            assert torch.allclose(probabilities, torch.tensor(1 - p))
            drawn.append(next(masks))
            assert drawn[-1].shape == probabilities.shape
            return drawn[-1]

        patch.setattr(torch, "bernoulli", bernoulli)
        value = evaluate()
        assert len(drawn) == len(sizes)
        kept = int(sum(bits))
        total = total + (1 - p) ** kept * p ** (len(bits) - kept) * value
    patch.undo()
    assert isinstance(total, Tensor)
    return total


@pytest.mark.parametrize(
    ("shape", "dropped"), [((3,), [3]), ((2, 3, 2), [2, 3, 2]), ((4, 1, 3), [4, 3]), ((1, 1), []), ((4, 2), [4])]
)
def test_the_mean_over_all_masks_is_the_core(
    shape: tuple[int, ...], dropped: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    core = torch.randn(shape, dtype=torch.float64)
    dropout = TensorDropout(0.3, min_rank=3 if shape == (4, 2) else 2)
    mean = enumerated(lambda: dropout(core), 0.3, dropped, monkeypatch)
    assert torch.allclose(mean, core, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("format", "sizes"), [("tucker", [2, 2, 3]), ("cp", [4])])
def test_the_mean_output_of_a_regression_is_that_without_dropout(
    format: str, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rank = tuple(sizes) if format == "tucker" else sizes[0]
    layer = TensorRegression((3, 4), (5,), format=format, rank=rank, dropout=0.3, dtype=torch.float64)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    mean = enumerated(lambda: layer.train()(x), 0.3, sizes, monkeypatch)
    assert torch.allclose(mean, layer.eval()(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("format", ["tucker", "cp"])
def test_so_does_the_mean_over_many_draws(format: str) -> None:
    layer = TensorRegression((3, 4), (2,), format=format, rank=2, dropout=0.3, bias=False, dtype=torch.float64)
    x = torch.randn(1, 3, 4, dtype=torch.float64)
    draws = torch.stack([layer(x) for _ in range(4000)])
    assert draws.std(0).min() > 0.1 * layer.eval()(x).abs().max()
    errors = (draws.mean(0) - layer.eval()(x)).abs() / (draws.std(0) / 4000**0.5)
    assert errors.max() < 4.5


def test_of_a_squared_error_it_is_a_penalty_on_the_terms() -> None:
    """``E (y - <X, W~>)^2 = (y - <X, W>)^2 + p/(1 - p) sum_r <X, term_r>^2`` for CP."""
    p, x = 0.4, torch.randn(1, 3, 4, dtype=torch.float64)
    layer = TensorRegression((3, 4), (1,), format="cp", rank=5, dropout=p, bias=False, dtype=torch.float64)
    c, a, b = layer.linear.factors.leaves
    terms = torch.einsum("bij,ir,jr,r->r", x, a, b, c[0])
    expected = (1 - terms.sum()) ** 2 + p / (1 - p) * terms.square().sum()
    draws = torch.stack([(1 - layer(x)).square().sum() for _ in range(20000)])
    assert abs(draws.mean() - expected) < 4.5 * draws.std() / 20000**0.5


def test_nothing_is_dropped_in_eval_mode_and_where_p_is_0() -> None:
    core = torch.randn(3, 3)
    assert TensorDropout(0.5).eval()(core) is core
    assert TensorDropout(0.0)(core) is core


@pytest.mark.parametrize("arguments", [(1.0,), (-0.1,), (0.5, 0)])
def test_bad_settings_are_refused(arguments: Any) -> None:
    with pytest.raises(ValueError, match=r"expected 0 <= p < 1 and min_rank >= 1, but got p="):
        TensorDropout(*arguments)


@pytest.mark.peers
def test_tensorly_torch_is_biased_and_we_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a mode is spared, its dropout scales too much: the mean is 1/(1 - p) times too large."""
    from tltorch.factorized_tensors import TuckerTensor
    from tltorch.tensor_hooks import tensor_dropout

    p, core = 0.3, torch.randn(5, 5, 2, dtype=torch.float64)
    factors = [torch.eye(n, dtype=torch.float64) for n in core.shape]
    theirs = tensor_dropout(TuckerTensor(core, factors, shape=core.shape, rank=core.shape), p, min_dim=2).train()
    theirs_mean = torch.stack([theirs().to_tensor() for _ in range(3000)]).mean(0)
    ours = TensorDropout(p, min_rank=3)
    ours_mean = torch.stack([ours(core) for _ in range(3000)]).mean(0)
    assert (theirs_mean * core).sum() / core.square().sum() == pytest.approx(1 / (1 - p), rel=0.05)
    assert (ours_mean * core).sum() / core.square().sum() == pytest.approx(1, rel=0.05)
