import warnings
from itertools import pairwise

import pytest
import torch
from e3nn.nn import S2Activation as Peer
from torch.nn.functional import silu

from isometry.layers.equivariant.layout import SphericalLayout
from isometry.layers.equivariant.s2_activation import S2Activation
from isometry.layers.equivariant.testing import (
    EquivariantCase,
    EquivariantTests,
    assert_equivariant,
    random_rotations,
    spherical,
)
from isometry.layers.testing import LayerSuite


class TestS2Activation(EquivariantTests, LayerSuite):
    cases = tuple(
        EquivariantCase(
            lambda lmax=lmax: S2Activation(lmax),
            lambda n, lmax=lmax: torch.randn(n, (lmax + 1) ** 2, 3),
            ((lmax + 1) ** 2, 3),
            actions_in=(spherical(lmax),),
            action_out=spherical(lmax),
        )
        for lmax in (0, 2)
    )
    test_it_commutes_with_rotations = None  # not exactly: below


def measured(layer: S2Activation, lmax: int) -> float:
    """Return the error, relative in the mean square, under other random rotations than the layer's own."""
    layer, act = layer.double(), spherical(lmax)
    x = torch.randn(100, (lmax + 1) ** 2, 2, dtype=torch.float64)
    errors = [(layer(act(x, r)) - act(layer(x), r)).norm() / layer(x).norm() for r in random_rotations("SO(3)", 5)]
    return float(torch.stack(errors).mean())


@pytest.mark.parametrize("lmax", [1, 2, 4, 6])
def test_the_default_grid_is_equivariant_to_a_thousandth(lmax: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = S2Activation(lmax)
    assert layer.equivariance_error < 1e-3
    assert measured(layer, lmax) < 1e-3


@pytest.mark.parametrize("degree", [9, 13, 17])
def test_the_error_that_it_states_is_the_error_that_others_measure(degree: int) -> None:
    with pytest.warns(UserWarning, match="rotations change the output by a relative"):
        layer = S2Activation(4, degree=degree)
    assert measured(layer, 4) == pytest.approx(layer.equivariance_error, rel=0.5)
    assert f"equivariance_error={layer.equivariance_error:.1e}" in repr(layer)


def test_the_error_falls_with_the_degree_of_the_grid() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        errors = [S2Activation(4, degree=degree).equivariance_error for degree in (9, 13, 17, 25, 41)]
    assert errors[0] > 0.1
    assert all(coarse > 2 * fine for coarse, fine in pairwise(errors))
    assert errors[-1] < 1e-4


def test_a_polynomial_on_a_grid_of_its_degree_is_exact_and_an_odd_degree_keeps_parity() -> None:
    x = torch.randn(5, 9, 2, dtype=torch.float64)
    layer = S2Activation(2, torch.square, degree=6).double()
    assert layer.equivariance_error < 1e-14
    assert_equivariant(layer, (x,), (spherical(2),), spherical(2))
    inversion = -torch.eye(3, dtype=torch.float64)
    silu_layer, act = S2Activation(2).double(), spherical(2)
    assert torch.allclose(silu_layer(act(x, inversion)), act(silu_layer(x), inversion), rtol=0, atol=1e-14)


def test_on_scalars_it_is_the_activation() -> None:
    x = torch.randn(5, 1, 2, dtype=torch.float64)
    assert torch.allclose(S2Activation(0).double()(x), silu(x), rtol=0, atol=1e-15)


def test_for_a_polynomial_it_is_the_activation_of_e3nn() -> None:
    """On grids that are exact for both; e3nn gives each degree the same share, and the activation a second moment."""
    torch.set_default_dtype(torch.float64)
    layout = SphericalLayout(2)
    peer = Peer(layout.irreps(1), torch.square, res=14, normalization="component")
    x, share = torch.randn(5, 9), (3 / (2 * layout.degrees + 1)).sqrt()
    ours = S2Activation(2, torch.square)((share * x).unsqueeze(-1)).squeeze(-1) / share
    assert torch.allclose(peer.act.cst * ours, peer(x), rtol=0, atol=1e-13)
