import pytest
import torch
from e3nn import o3

from isometry.layers.equivariant.layout import SphericalLayout
from isometry.layers.equivariant.spherical_linear import SphericalLinear
from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests, spherical
from isometry.layers.testing import LayerSuite


class TestSphericalLinear(EquivariantTests, LayerSuite):
    cases = tuple(
        EquivariantCase(
            lambda lmax=lmax, bias=bias: SphericalLinear(4, 3, lmax, bias=bias),
            lambda n, lmax=lmax: torch.randn(n, (lmax + 1) ** 2, 4),
            ((lmax + 1) ** 2, 3),
            actions_in=(spherical(lmax, pseudo=not bias),),
            action_out=spherical(lmax, pseudo=not bias),
        )
        for lmax, bias in ((0, True), (3, True), (2, False))
    )


def test_it_is_the_linear_layer_of_e3nn() -> None:
    torch.set_default_dtype(torch.float64)
    layout = SphericalLayout(3)
    layer = SphericalLinear(5, 4, 3)
    torch.nn.init.normal_(layer.bias)
    peer = o3.Linear(layout.irreps(5), layout.irreps(4), biases=True)
    with torch.no_grad():
        peer.weight.copy_(layer.weight.flatten() * 5**0.5)
        peer.bias.copy_(layer.bias)
    x = torch.randn(6, 16, 5)
    assert torch.allclose(layer(x), layout.from_irreps(peer(layout.to_irreps(x)), 4), rtol=0, atol=1e-13)


def test_without_degrees_above_zero_it_is_the_linear_layer_of_torch() -> None:
    layer = SphericalLinear(5, 4, 0)
    x = torch.randn(6, 1, 5)
    assert torch.allclose(layer(x), torch.nn.functional.linear(x, layer.weight[0].T, layer.bias), atol=1e-6)


def test_it_keeps_the_variance_of_entries() -> None:
    y = SphericalLinear(256, 256, 2)(torch.randn(200, 9, 256))
    assert y.var().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("sizes", [(0, 4, 2), (4, 0, 2), (4, 4, -1)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected positive channels and lmax >= 0"):
        SphericalLinear(*sizes)
