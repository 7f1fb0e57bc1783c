from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.layers.tensor.fusion import LowRankFusion
from isometry.layers.testing import LayerCase, LayerSuite


def inputs(*sizes: int) -> Any:
    return lambda count: tuple(torch.randn(count, size) for size in sizes)


class TestLowRankFusion(LayerSuite):
    cases = (
        LayerCase(lambda: LowRankFusion((3, 4, 2), 5, 2), inputs(3, 4, 2), (5,), name="three"),
        LayerCase(lambda: LowRankFusion((3, 4), 1, 3, bias=False), inputs(3, 4), (1,), name="two"),
        LayerCase(lambda: LowRankFusion((3,), 2, 1), inputs(3), (2,), name="one"),
    )


def with_one(x: Tensor) -> np.ndarray:
    return np.concatenate([np.ones((len(x), 1)), x.numpy()], 1)


@pytest.mark.parametrize("count", [1, 6])
def test_it_is_the_contraction_of_the_outer_product(count: int) -> None:
    layer = LowRankFusion((3, 4, 2), 5, 2, dtype=torch.float64)
    x = [torch.randn(count, n, dtype=torch.float64) for n in (3, 4, 2)]
    factors = [W.detach().numpy().reshape(2, 5, -1) for W in layer.factors]
    w = np.einsum("r,roi,roj,rok->ijko", layer.weight.detach().numpy(), *factors)
    outer = np.einsum("bi,bj,bk->bijk", *(with_one(one) for one in x))
    expected = np.einsum("bijk,ijko->bo", outer, w) + layer.bias.detach().numpy()
    assert np.allclose(layer(*x).detach().numpy(), expected, rtol=0, atol=1e-13)


def test_outputs_start_with_the_variance_of_a_linear_layer() -> None:
    x = [torch.randn(100, n) for n in (30, 40, 20)]
    outputs = torch.stack([LowRankFusion((30, 40, 20), 16, 8, bias=False)(*x) for _ in range(60)])
    assert outputs.var().item() == pytest.approx(1 / 3, rel=0.2)


def test_it_learns_a_product_that_no_linear_map_has() -> None:
    """Trilinear targets of rank 2 are found at rank 2; a linear regression leaves nearly all of their variance."""
    torch.manual_seed(1)
    x = [torch.randn(600, n) for n in (4, 3, 5)]
    target = sum(torch.stack([one @ torch.randn(one.shape[1]) for one in x]).prod(0) for _ in range(2))[:, None]
    layer = LowRankFusion((4, 3, 5), 1, 2)
    steps = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(800):
        steps.zero_grad()
        loss = (layer(*x) - target).square().mean()
        loss.backward()
        steps.step()
    flat = torch.cat([*x, torch.ones(600, 1)], 1)
    residual = target - flat @ torch.linalg.lstsq(flat, target).solution
    assert loss < 1e-3 * target.var()
    assert residual.var() > 0.8 * target.var()


@pytest.mark.parametrize(("sizes", "out", "rank"), [((), 2, 1), ((3, 0), 2, 1), ((3,), 0, 1), ((3,), 2, 0)])
def test_bad_sizes_are_refused(sizes: Any, out: int, rank: int) -> None:
    with pytest.raises(ValueError, match="expected one modality or more, and positive sizes and rank, but got"):
        LowRankFusion(sizes, out, rank)


@pytest.mark.parametrize("shapes", [[(2, 3)], [(2, 3), (2, 5)], [(2, 3), (2, 4), (2, 1)]])
def test_other_inputs_are_refused(shapes: Any) -> None:
    with pytest.raises(ValueError, match=r"expected one tensor for each modality, with \(3, 4\) features, but got"):
        LowRankFusion((3, 4), 2, 1)(*(torch.randn(shape) for shape in shapes))
