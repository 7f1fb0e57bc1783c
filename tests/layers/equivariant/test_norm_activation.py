import pytest
import torch
from e3nn.nn import NormActivation as Peer

from isometry.layers.equivariant.layout import SphericalLayout
from isometry.layers.equivariant.norm_activation import NormActivation
from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests, spherical
from isometry.layers.testing import LayerSuite


class TestNormActivation(EquivariantTests, LayerSuite):
    cases = tuple(
        EquivariantCase(
            lambda lmax=lmax: NormActivation(lmax, 3),
            lambda n, lmax=lmax: torch.randn(n, (lmax + 1) ** 2, 3),
            ((lmax + 1) ** 2, 3),
            actions_in=(spherical(lmax, pseudo),),
            action_out=spherical(lmax, pseudo),
            name=f"{lmax}-{'pseudo' if pseudo else 'natural'}",
        )
        for lmax, pseudo in ((0, False), (2, False), (2, True))
    )


def test_it_is_the_norm_activation_of_e3nn() -> None:
    torch.set_default_dtype(torch.float64)
    layout = SphericalLayout(2)
    layer = NormActivation(2, 4, torch.tanh, eps=1e-9)
    torch.nn.init.normal_(layer.bias)
    peer = Peer(layout.irreps(4), torch.tanh, normalize=True, epsilon=1e-9, bias=True)
    with torch.no_grad():
        peer.biases.copy_(layer.bias.flatten())
    x = torch.randn(6, 9, 4)
    assert torch.allclose(layer(x), layout.from_irreps(peer(layout.to_irreps(x)), 4), rtol=0, atol=1e-13)


def test_lengths_are_activated_and_directions_kept() -> None:
    x = torch.randn(5, 9, 3, dtype=torch.float64)
    y = NormActivation(2, 3, torch.square, eps=1e-9).double()(x)
    for a, b in zip(x.split([1, 3, 5], 1), y.split([1, 3, 5], 1), strict=True):
        assert torch.allclose(b, a * a.norm(dim=1, keepdim=True), rtol=1e-12)


@pytest.mark.parametrize("arguments", [(-1, 4), (2, 0), (2, 4, torch.tanh, 0.0)])
def test_impossible_arguments_are_refused(arguments: tuple) -> None:
    with pytest.raises(ValueError, match="NormActivation: expected lmax >= 0"):
        NormActivation(*arguments)
