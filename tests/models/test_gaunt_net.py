import pytest
import torch

from isometry.layers.equivariant import GauntProduct, SphericalLayout, spherical_harmonics
from isometry.models.gaunt_net import GauntConv, GauntNet
from tests.models.equivariant_suite import POS, AtomisticCase, AtomisticSuite, Z


class TestGauntNet(AtomisticSuite):
    cases = (
        AtomisticCase(lambda: GauntNet([1, 6, 8], cutoff=2.5, lmax=2, channels=4, order=3, radial=5), "O(3)"),
        AtomisticCase(
            lambda: GauntNet([8, 1, 6], cutoff=3.0, lmax=1, channels=4, order=2, group="SO(3)"),
            "SO(3)",
            group="SO(3)",
        ),
    )


@pytest.mark.parametrize("lmax", [0, 1, 3])
def test_the_convolution_is_a_sum_of_gaunt_products(lmax: int) -> None:
    size = (lmax + 1) ** 2
    conv = GauntConv(lmax, brackets=True).double()
    x, edge_index = torch.randn(4, size, 3).double(), torch.randint(4, (2, 9))
    harmonics = spherical_harmonics(torch.randn(9, 3).double(), lmax)
    weights = torch.randn(9, lmax + 1, 3).double()
    filters = harmonics.unsqueeze(-1) * weights[:, SphericalLayout(lmax).degrees]
    expected = torch.zeros(4, size, 6).double()
    for source, target, f in zip(*edge_index, filters, strict=True):
        product, bracket = (GauntProduct(lmax, lmax, lmax, "dense", a).double()(x[source], f) for a in (False, True))
        expected[target] += torch.cat([product, bracket], -1)
    found = conv(x, edge_index, harmonics, weights)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def invariants(network: GauntNet, pos: torch.Tensor) -> torch.Tensor:
    """Return what no rotation changes, the products of channels included."""
    blocks = network(Z, pos).split([2 * degree + 1 for degree in range(network.layout.lmax + 1)], 1)
    return torch.cat([(block.mT @ block).flatten(1) for block in blocks[1:]] + [blocks[0].flatten(1)], 1)


@pytest.mark.parametrize("group", ["O(3)", "SO(3)"])
def test_only_the_group_of_rotations_tells_mirror_images_apart(group: str) -> None:
    network = GauntNet([1, 6, 8], cutoff=3.0, lmax=1, channels=8, group=group).double()
    difference = (invariants(network, POS) - invariants(network, -POS)).abs().max() / invariants(
        network, POS
    ).abs().max()
    assert difference < 1e-12 if group == "O(3)" else difference > 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "SE(3)"}, r"expected group 'O\(3\)' or 'SO\(3\)', but got 'SE\(3\)'"),
        ({"layers": 0}, "expected layers >= 1"),
        ({"neighbors": 0.0}, "positive neighbors"),
        ({"order": 1}, "order >= 2"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GauntNet([1, 6], **options)
