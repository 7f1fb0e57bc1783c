import pytest
import torch
from torch import nn

from isometry.layers import LEAggregation, LPAggregation
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.models import DeepSets
from tests.models.suite import ModelTests


def lp() -> LPAggregation:
    return LPAggregation(3, 6, 4, radius=2.0)


def le() -> LEAggregation:
    return LEAggregation(3, 16, radius=0.5)


def sets(count: int) -> torch.Tensor:
    return 0.7 * torch.randn(count, 5, 3)  # of lengths that the aggregations are made for


class TestDeepSets(ModelTests, LayerSuite):
    cases = (
        LayerCase(lambda: DeepSets(3, lp(), 32, 4), sets, (4,), cond=512.0, name="LP"),
        LayerCase(lambda: DeepSets(3, le(), 32, 4), sets, (4,), cond=512.0, name="LE"),
    )


class TestEquivariantDeepSets(LayerSuite):
    cases = (
        LayerCase(lambda: DeepSets(3, lp(), 16, 2, equivariant=True), sets, (5, 2), cond=512.0, name="equivariant"),
    )


MAKE = pytest.mark.parametrize("make", [lp, le])


@MAKE
def test_the_order_does_not_matter_or_is_followed(make: type) -> None:
    torch.set_default_dtype(torch.float64)
    x, order = sets(4), torch.randperm(5)
    invariant, equivariant = DeepSets(3, make(), 8, 2), DeepSets(3, make(), 8, 2, equivariant=True)
    assert torch.allclose(invariant(x[:, order]), invariant(x), rtol=1e-12)
    assert torch.allclose(equivariant(x[:, order]), equivariant(x)[:, order], rtol=1e-12)


@MAKE
def test_sets_of_other_sizes_by_index(make: type) -> None:
    torch.set_default_dtype(torch.float64)
    sizes = [2, 4, 1]
    x, index = torch.randn(7, 3), torch.arange(3).repeat_interleave(torch.tensor(sizes))
    invariant, equivariant = DeepSets(3, make(), 8, 2), DeepSets(3, make(), 8, 2, equivariant=True)
    parts = x.split(sizes)
    assert torch.allclose(invariant(x, index), torch.stack([invariant(part) for part in parts]))
    assert torch.allclose(equivariant(x, index), torch.cat([equivariant(part) for part in parts]))
    empty = invariant(x, index, 5)
    assert empty.shape == (5, 2)
    assert torch.equal(empty[3], empty[4])


def test_it_learns_the_largest_element() -> None:
    """A function of the set that no mean of features gives."""
    x = 2 * torch.rand(512, 4, 1) - 1
    model = DeepSets(1, LPAggregation(1, 2, 4), 64, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(400):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), x.amax(1))
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02 * x.amax(1).var().item()


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="expected an aggregation of 2 features, but got 3"):
        DeepSets(2, lp(), 8, 1)
