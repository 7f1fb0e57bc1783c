import pytest
import torch
from torch.nn.functional import layer_norm

from isometry.layers.equivariant.layout import SphericalLayout
from isometry.layers.equivariant.spherical_norm import SphericalLayerNorm, SphericalRMSNorm
from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests, spherical
from isometry.layers.testing import LayerSuite
from tests.layers.equivariant.fairchem_modules import layer_norms


class TestSphericalNorms(EquivariantTests, LayerSuite):
    cases = tuple(
        EquivariantCase(
            lambda make=make, lmax=lmax: make(lmax, 4),
            lambda n, lmax=lmax: torch.randn(n, (lmax + 1) ** 2, 4),
            ((lmax + 1) ** 2, 4),
            actions_in=(spherical(lmax),),
            action_out=spherical(lmax),
        )
        for make in (SphericalRMSNorm, SphericalLayerNorm)
        for lmax in (0, 2)
    )


@pytest.mark.parametrize("make", [SphericalRMSNorm, SphericalLayerNorm])
def test_on_scalars_it_is_the_layer_norm_of_torch(make: type) -> None:
    x = torch.randn(5, 1, 6, dtype=torch.float64)
    assert torch.allclose(make(0, 6).double()(x), layer_norm(x, (6,)), rtol=0, atol=1e-14)


def test_all_degrees_share_one_size_in_which_each_counts_alike() -> None:
    x = torch.randn(5, 16, 6, dtype=torch.float64)
    y = SphericalRMSNorm(3, 6, eps=1e-30).double()(x)
    sizes = torch.stack([y[:, SphericalLayout(3).degrees == degree].square().mean((1, 2)) for degree in range(4)])
    assert torch.allclose(sizes.mean(0), torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-14)
    assert torch.allclose(y[:, 0].mean(-1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-15)
    ratio = y[:, 1:] / x[:, 1:]
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio), rtol=1e-13)


def test_the_degrees_above_zero_are_normalised_apart_from_the_scalars() -> None:
    x = torch.randn(5, 16, 6, dtype=torch.float64)
    layer = SphericalLayerNorm(3, 6, eps=1e-30).double()
    y = layer(x)
    sizes = torch.stack([y[:, SphericalLayout(3).degrees == degree].square().mean((1, 2)) for degree in range(1, 4)])
    assert torch.allclose(sizes.mean(0), torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-14)
    scaled = layer(torch.cat([x[:, :1] * 7, x[:, 1:] / 3], 1))
    assert torch.allclose(scaled, y, rtol=0, atol=1e-13)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (SphericalRMSNorm, "EquivariantRMSNormArraySphericalHarmonicsV2"),
        (SphericalLayerNorm, "EquivariantLayerNormArraySphericalHarmonics"),
    ],
)
def test_fairchem_agrees(make: type, name: str) -> None:
    torch.set_default_dtype(torch.float64)  # fairchem's shares of the degrees are rounded to the default format
    ours, theirs = make(3, 5), getattr(layer_norms(), name)(3, 5)
    torch.nn.init.normal_(ours.weight)
    torch.nn.init.normal_(ours.bias)
    values = {"affine_weight": ours.weight, "affine_bias": ours.bias}
    if make is SphericalLayerNorm:
        values = {"norm_l0.weight": ours.weight[0], "norm_l0.bias": ours.bias, "affine_weight": ours.weight[1:]}
    theirs.load_state_dict({key: value.detach() for key, value in values.items()}, strict=False)
    x = torch.randn(6, 16, 5)
    assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", [SphericalRMSNorm, SphericalLayerNorm])
def test_half_formats_are_computed_in_full(make: type) -> None:
    x = 1e3 * torch.randn(5, 9, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = make(2, 4)(x)
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.float(), make(2, 4)(x.float()), rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("make", [SphericalRMSNorm, SphericalLayerNorm])
@pytest.mark.parametrize("arguments", [(-1, 4), (2, 0), (2, 4, 0.0)])
def test_impossible_arguments_are_refused(make: type, arguments: tuple) -> None:
    with pytest.raises(ValueError, match=f"{make.__name__}: expected lmax >= 0"):
        make(*arguments)
