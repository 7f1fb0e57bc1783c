import pytest
import torch
from torch.autograd import grad

from isometry.layers.equivariant import SO2Linear, SphericalLayout
from isometry.layers.equivariant.testing import (
    EquivariantCase,
    EquivariantTests,
    assert_roll_invariant,
    invariant,
    spherical,
    vectors,
)
from isometry.layers.testing import LayerSuite
from tests.layers.equivariant.so2_oracles import (
    NEAR_POLES,
    POLES,
    OnEdges,
    e3nn_product,
    harmonics,
    load_weights,
    paths,
    so2_weights,
)


class TestSO2Linear(EquivariantTests, LayerSuite):
    # sums over up to 4 degrees times 3 channels, between two rotations of degree 3
    cases = tuple(
        EquivariantCase(
            lambda mmax=mmax, o3=o3: OnEdges(SO2Linear(3, 2, 3, mmax, o3), 3, mmax),
            lambda n, mmax=mmax, scaled=scaled: (
                torch.randn(n, 16, 3),
                torch.randn(n, 3),
                *([torch.randn(n, SO2Linear(3, 2, 3, mmax).num_scalars, 3)] if scaled else []),
            ),
            (16, 2),
            actions_in=(spherical(3), vectors, *([invariant] if scaled else [])),
            action_out=spherical(3),
            group="O(3)" if o3 else "SO(3)",
            cond=256.0,
            name=f"mmax={mmax}-{'O(3)' if o3 else 'SO(3)'}{'-scalars' if scaled else ''}",
        )
        for mmax, o3, scaled in ((3, False, False), (3, True, True), (1, False, True), (0, True, False))
    )


def mapped(lmax: int, channels: int) -> tuple[OnEdges, torch.nn.Module]:
    """Return our layer, seen from space, and e3nn's product with the same weights, in float64."""
    product = e3nn_product(lmax, 2 * lmax, channels, "uvw", shared_weights=True, internal_weights=True)
    layer = SO2Linear(channels, channels, lmax, lmax, bias=False).double()
    weights = (weight.detach().squeeze(1) for weight in product.weight_views())
    load_weights(layer, so2_weights(lmax, dict(zip(paths(lmax, 2 * lmax), weights, strict=True))))
    return OnEdges(layer, lmax, lmax).double(), product


@pytest.mark.parametrize("lmax", [1, 2, 4])
def test_it_is_the_tensor_product_of_e3nn(lmax: int) -> None:
    """Values and derivatives in the features and the vectors, second ones too, and at the poles."""
    layout, channels = SphericalLayout(lmax), 3
    layer, product = mapped(lmax, channels)
    vec = torch.cat([torch.randn(6, 3, dtype=torch.float64), POLES, NEAR_POLES])
    x, weight = torch.randn(2, len(vec), layout.size, channels, dtype=torch.float64)
    results = []
    for function in (
        layer,
        lambda x, v: layout.from_irreps(product(layout.to_irreps(x), harmonics(v, 2 * lmax)), channels),
    ):
        inputs = x.clone().requires_grad_(), vec.clone().requires_grad_()
        output = function(*inputs)
        first = grad((output * weight).sum(), inputs, create_graph=True)
        second = grad(sum((d.square().sum() for d in first), 0 * inputs[1].sum()), inputs)
        results.append([output, *first, *second])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12 * max(1.0, float(theirs.detach().abs().max())))


def test_derivatives_in_float32_are_right_at_the_poles() -> None:
    """Where Euler angles give derivatives that are not numbers, or wrong by as much as they are large."""
    layer, product = mapped(3, 4)
    layout = SphericalLayout(3)
    vec = torch.cat([POLES, NEAR_POLES])
    x, weight = torch.randn(2, len(vec), 16, 4, dtype=torch.float64)
    exact, single = vec.clone().requires_grad_(), vec.float().requires_grad_()
    theirs = layout.from_irreps(product(layout.to_irreps(x), harmonics(exact, 6)), 4)
    ours = layer.float()(x.float(), single)
    (expected,) = grad((theirs * weight).sum(), exact)
    (found,) = grad((ours * weight.float()).sum(), single)
    assert torch.allclose(found.double(), expected, rtol=0, atol=5e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("o3", [False, True])
def test_a_turn_about_the_edge_changes_nothing(o3: bool) -> None:
    layer = OnEdges(SO2Linear(3, 2, 4, 2, o3), 4, 2).double()
    x, vec = torch.randn(5, 25, 3).double(), torch.randn(5, 3).double()
    assert_roll_invariant(lambda roll: layer(x, vec, roll=roll), 5, 1e-13)


def test_without_reflections_parity_is_mixed_and_with_them_half_of_the_weights_are_left() -> None:
    mixed, kept = SO2Linear(2, 2, 2, 2), SO2Linear(2, 2, 2, 2, o3=True)
    assert [tuple(w.shape) for w in mixed.weights] == [(1, 6, 6), (2, 4, 4), (2, 2, 2)]
    assert [tuple(w.shape) for w in kept.weights] == [(1, 6, 6), (1, 4, 4), (1, 2, 2)]
    x, vec = torch.randn(3, 9, 2), torch.randn(3, 3)
    parity = ((-1.0) ** SphericalLayout(2).degrees).unsqueeze(-1)
    layer = OnEdges(mixed, 2, 2)
    assert (layer(parity * x, -vec) - parity * layer(x, vec)).abs().max() > 0.1


def test_entries_of_variance_one_keep_it() -> None:
    for o3 in (False, True):
        y = SO2Linear(64, 64, 3, 2, o3)(torch.randn(50, 14, 64))
        assert torch.allclose(y.square().mean((0, 2)), torch.ones(14), rtol=0, atol=0.2)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected positive channels, but got 0 and 2"):
        SO2Linear(0, 2, 1, 1)
    with pytest.raises(ValueError, match="expected 0 <= mmax <= lmax"):
        SO2Linear(2, 2, 1, 2)


@pytest.mark.peers
@pytest.mark.parametrize(("lmax", "mmax"), [(2, 2), (4, 2), (3, 0)])
def test_fairchem_agrees(lmax: int, mmax: int) -> None:
    from tests.layers.equivariant.fairchem_modules import so2_convolution

    for scaled in (False, True):
        peer = so2_convolution(4, 6, lmax, mmax).double()
        layer = SO2Linear(4, 6, lmax, mmax).double()
        layer.weights[0].data[0] = peer.fc_m0.weight.T
        layer.bias.data = torch.randn(6, dtype=torch.float64)
        peer.fc_m0.bias.data = torch.nn.functional.pad(layer.bias.data, (0, 6 * lmax))  # theirs has one per degree
        for parameter, order in zip(list(layer.weights)[1:], peer.so2_m_conv, strict=True):
            parameter.data.copy_(order.fc.weight.view(2, -1, parameter.shape[1]).mT)
        scalars = torch.randn(5, layer.num_scalars, 4, dtype=torch.float64) if scaled else None
        x = torch.randn(5, sum(layer._counts) + sum(layer._counts[1:]), 4, dtype=torch.float64)
        theirs = peer(x, scalars.flatten(1) if scaled else None)
        assert torch.allclose(layer(x, scalars), theirs, rtol=0, atol=1e-12)
