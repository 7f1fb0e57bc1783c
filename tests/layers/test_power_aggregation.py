import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.nn import SimpleConv

from isometry.layers import LEAggregation, LPAggregation
from isometry.layers.testing import LayerCase, LayerSuite

AGGREGATIONS = pytest.mark.parametrize(
    "make", [lambda: LPAggregation(3, 6, 5), lambda: LEAggregation(3, 12)], ids=["LP", "LE"]
)


class TestPowerAggregations(LayerSuite):
    cases = (
        LayerCase(lambda: LPAggregation(3, 4, 5), lambda n: 0.5 * torch.randn(n, 6, 3), (1, 20), cond=256.0),
        LayerCase(lambda: LEAggregation(3, 4), lambda n: torch.randn(n, 6, 3), (1, 4)),
    )
    # `Aggregation` reads the number of sets from the index unless it is given, as it is below
    test_compiles_as_one_graph = None


@AGGREGATIONS
def test_it_compiles_where_the_number_of_sets_is_given(make: type) -> None:
    layer, x, index = make(), torch.randn(8, 3), torch.tensor([0, 0, 1, 1, 1, 3, 3, 0])
    compiled = torch.compile(layer.forward, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(x, index, dim_size=4), layer(x, index, dim_size=4), atol=1e-5)


def power_sums(x: Tensor, weight: Tensor, powers: int) -> Tensor:
    t = x @ weight.T
    return torch.stack([(t**p).sum(-2) for p in range(1, powers + 1)], -2)


def test_lp_is_the_power_sums_in_another_basis() -> None:
    """The change of basis, from numpy's Chebyshev polynomials, is triangular and the same for all sets."""
    torch.set_default_dtype(torch.float64)
    layer = LPAggregation(3, 4, 6)
    polynomials = [np.polynomial.chebyshev.cheb2poly([0] * p + [1])[1:] for p in range(1, 7)]
    change = np.array([np.pad(polynomial, (0, 6 - len(polynomial))) for polynomial in polynomials])
    for size in (1, 2, 5, 6):
        x = torch.rand(size, 3) - 0.5
        expected = torch.from_numpy(change) @ power_sums(x, layer.weight, 6)
        assert torch.allclose(layer(x)[0].view(6, 4), expected, rtol=0, atol=1e-13)
    assert np.array_equal(np.triu(change, 1), np.zeros((6, 6)))
    assert (np.diag(change) >= 1).all()


def test_le_is_the_logarithm_of_the_sum() -> None:
    torch.set_default_dtype(torch.float64)
    layer, x = LEAggregation(3, 4), torch.randn(7, 3)
    assert torch.allclose(layer(x)[0], (1 + (x @ layer.weight.T).exp().sum(0)).log(), rtol=0, atol=1e-14)


def test_le_stays_finite_far_beyond_the_range_of_exponentials() -> None:
    layer = LEAggregation(2, 3)
    for scale in (1e3, 1e30):
        x = (scale * torch.randn(5, 2)).requires_grad_()
        y = layer(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.allclose(y[0], (x @ layer.weight.T).max(0).values.clamp_min(0), rtol=1e-5)
        assert gradient.isfinite().all()


@AGGREGATIONS
def test_the_order_of_elements_does_not_matter(make: type) -> None:
    torch.set_default_dtype(torch.float64)
    layer, x = make(), torch.randn(9, 3)
    for _ in range(5):
        assert torch.allclose(layer(x[torch.randperm(9)]), layer(x), rtol=1e-12)


@AGGREGATIONS
def test_sets_by_index_or_by_ends_are_a_loop_over_sets(make: type) -> None:
    torch.set_default_dtype(torch.float64)
    layer, sizes = make(), [3, 0, 2, 4]
    x = torch.randn(sum(sizes), 3)
    expected = torch.cat([layer(part) if len(part) else torch.zeros(1, layer.out_features) for part in x.split(sizes)])
    index = torch.arange(4).repeat_interleave(torch.tensor(sizes))
    assert torch.allclose(layer(x, index), expected, atol=1e-14)
    assert torch.allclose(layer(x, ptr=torch.tensor([0, *sizes]).cumsum(0)), expected, atol=1e-14)
    order = torch.randperm(9)
    assert torch.allclose(layer(x[order], index[order]), expected, rtol=1e-12, atol=1e-14)
    stacked = torch.stack([x, 2 * x])
    assert torch.allclose(layer(stacked, index)[1], layer(2 * x, index), atol=1e-14)
    assert torch.equal(layer(x, index, dim_size=6)[4:], torch.zeros(2, layer.out_features))


@AGGREGATIONS
def test_no_elements_give_zeros(make: type) -> None:
    layer = make()
    y = layer(torch.empty(0, 3), torch.empty(0, dtype=torch.int64), dim_size=2)
    assert torch.equal(y, torch.zeros(2, layer.out_features))


@AGGREGATIONS
def test_it_is_an_aggregation_of_messages(make: type) -> None:
    layer = make()
    edges = torch.tensor([[0, 1, 2, 3, 1], [1, 0, 0, 2, 2]])
    x = torch.randn(4, 3)
    assert torch.allclose(SimpleConv(aggr=layer)(x, edges)[:3], layer(x[edges[0]], edges[1]), atol=1e-6)


# --- which sets are told apart ----------------------------------------------------------------------------------


def coordinates_shuffled(size: int, dim: int) -> tuple[Tensor, Tensor]:
    """Two different sets whose elements have the same first coordinates, the same second coordinates, and so on."""
    x = torch.randn(size, dim, dtype=torch.float64)
    y = x.clone()
    y[:, 0] = x[torch.arange(size).roll(1), 0]
    return x / 4, y / 4


def test_lp_with_as_many_directions_as_dimensions_may_mix_sets_up_and_with_one_more_it_does_not() -> None:
    """Directions along the axes see only the sets of coordinates: the mixed one is what they need."""
    for size, dim in ((2, 2), (4, 3), (6, 4)):
        x, y = coordinates_shuffled(size, dim)
        layer = LPAggregation(dim, dim + 1, size, dtype=torch.float64)
        with torch.no_grad():
            layer.weight[:dim] = torch.eye(dim)
        difference = (layer(x) - layer(y))[0].view(size, dim + 1).abs()
        assert difference[:, :dim].max() < 1e-12
        assert difference[:, dim].max() > 1e-3


def test_powers_up_to_the_size_are_needed_and_suffice_in_one_dimension() -> None:
    """Prouhet, Tarry and Escott: two sets of 4 integers with equal sums of the powers 1, 2 and 3."""
    first, second = torch.tensor([0.0, 4, 7, 11]), torch.tensor([1.0, 2, 9, 10])
    for powers, told_apart in ((3, False), (4, True)):
        layer = LPAggregation(1, 1, powers, radius=11.0, dtype=torch.float64)
        difference = layer(first[:, None].double()) - layer(second[:, None].double())
        assert (difference.abs().max() > 1e-3) == told_apart


@pytest.mark.parametrize(("size", "dim"), [(3, 2), (8, 3), (16, 4)])
def test_random_directions_tell_random_sets_apart_far_below_the_bound(size: int, dim: int) -> None:
    """The smallest change of the features by a unit change of the elements is positive: locally one-to-one."""
    torch.set_default_dtype(torch.float64)
    x = torch.rand(size, dim) - 0.5
    for layer in (LPAggregation(dim, 2 * dim + 1, size), LEAggregation(dim, (2 * dim + 1) * size, radius=0.25)):
        jacobian = torch.autograd.functional.jacobian(lambda x, f=layer: f(x)[0], x).flatten(1)
        values = torch.linalg.svdvals(jacobian)
        assert layer.out_features < size**4 * dim**2
        assert values[-1] > 1e-3


def test_chebyshev_polynomials_keep_apart_what_powers_merge_in_float32() -> None:
    """The condition of the features of 12 elements, in which float32 has 7 digits."""
    torch.set_default_dtype(torch.float64)
    x = torch.cos(math.pi * (torch.arange(12) + 0.5) / 12)[:, None]
    layer = LPAggregation(1, 1, 12)
    with torch.no_grad():
        layer.weight.fill_(1)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x)[0], x).flatten(1)
    powers = torch.autograd.functional.jacobian(lambda x: power_sums(x, layer.weight, 12).flatten(), x).flatten(1)
    assert torch.linalg.cond(jacobian) < 100
    assert torch.linalg.cond(powers) > 1000


def test_bad_numbers() -> None:
    with pytest.raises(ValueError, match="expected at least one power, but got powers=0"):
        LPAggregation(2, 3, 0)
    with pytest.raises(ValueError, match=r"expected a positive radius, but got 0\.0"):
        LEAggregation(2, 3, 0.0)
    with pytest.raises(ValueError, match="expected index or ptr"):
        LEAggregation(2, 3).forward(torch.randn(4, 2))
