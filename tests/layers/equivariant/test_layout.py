import pytest
import torch
from e3nn import o3

from isometry.layers.equivariant import EdgeLayout, SphericalLayout


@pytest.mark.parametrize("lmax", [0, 1, 3])
@pytest.mark.parametrize("batch", [(5,), (2, 3), (), (0,)])
def test_there_and_back_loses_nothing(lmax: int, batch: tuple[int, ...]) -> None:
    layout = SphericalLayout(lmax)
    x = torch.randn(*batch, layout.size, 4)
    flat = layout.to_irreps(x)
    assert flat.shape == (*batch, layout.irreps(4).dim)
    assert torch.equal(layout.from_irreps(flat, 4), x)


def test_each_degree_is_where_e3nn_has_it() -> None:
    layout, channels = SphericalLayout(3), 2
    flat = torch.randn(5, layout.irreps(channels).dim)
    x = layout.from_irreps(flat, channels)
    for degree, place in enumerate(layout.irreps(channels).slices()):
        block = flat[:, place].view(5, channels, 2 * degree + 1)
        assert torch.equal(x[:, layout.degrees == degree], block.mT)


def test_the_rows_are_named() -> None:
    layout = SphericalLayout(2)
    assert layout.size == 9
    assert layout.degrees.tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert layout.orders.tolist() == [0, -1, 0, 1, -2, -1, 0, 1, 2]
    assert layout.irreps(8) == o3.Irreps("8x0e+8x1o+8x2e")
    assert layout.irreps(8, pseudo=True) == o3.Irreps("8x0o+8x1e+8x2o")


def test_rows_in_frames_come_by_order() -> None:
    full, spherical = EdgeLayout(2, 2), SphericalLayout(2)
    assert spherical.orders[full.rows].tolist() == [0, 0, 0, 1, 1, -1, -1, 2, -2]
    assert full.degrees.tolist() == [0, 1, 2, 1, 2, 1, 2, 2, 2]
    cut = EdgeLayout(3, 1)
    assert SphericalLayout(3).orders[cut.rows].tolist() == [0, 0, 0, 0, 1, 1, 1, -1, -1, -1]
    assert cut.degrees.tolist() == [0, 1, 2, 3, 1, 2, 3, 1, 2, 3]
    assert cut.counts == [4, 3]


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected lmax >= 0, but got -1"):
        SphericalLayout(-1)
    with pytest.raises(ValueError, match="8x0e\\+8x1o with 32 entries, but got 31"):
        SphericalLayout(1).from_irreps(torch.randn(3, 31), 8)
    for mmax in (-1, 3):
        with pytest.raises(ValueError, match=f"0 <= mmax <= lmax, but got lmax=2 and mmax={mmax}"):
            EdgeLayout(2, mmax)
