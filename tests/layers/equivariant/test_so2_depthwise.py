import pytest
import torch

from isometry.layers.equivariant import EdgeLayout, SO2Depthwise, SO2Linear, SphericalLayout
from isometry.layers.equivariant.testing import (
    EquivariantCase,
    EquivariantTests,
    assert_roll_invariant,
    invariant,
    spherical,
    vectors,
)
from isometry.layers.testing import LayerSuite
from tests.layers.equivariant.so2_oracles import OnEdges, e3nn_product, harmonics, paths, rows_of_weights, so2_weights


class TestSO2Depthwise(EquivariantTests, LayerSuite):
    cases = tuple(
        EquivariantCase(
            lambda mmax=mmax, o3=o3: OnEdges(SO2Depthwise(3, mmax, o3), 3, mmax),
            lambda n, mmax=mmax, o3=o3: (
                torch.randn(n, 16, 2),
                torch.randn(n, 3),
                torch.randn(n, SO2Depthwise(3, mmax, o3).num_scalars, 2),
            ),
            (16, 2),
            actions_in=(spherical(3), vectors, invariant),
            action_out=spherical(3),
            group="O(3)" if o3 else "SO(3)",
            cond=256.0,
            name=f"mmax={mmax}-{'O(3)' if o3 else 'SO(3)'}",
        )
        for mmax, o3 in ((3, False), (3, True), (1, False), (0, True))
    )


@pytest.mark.parametrize(("lmax", "filter_lmax"), [(0, 0), (1, 1), (1, 2), (3, 3), (3, 6)])
def test_it_is_the_product_uvu_of_e3nn(lmax: int, filter_lmax: int) -> None:
    """With the weights of all paths; harmonics up to ``2 lmax`` make up all of our weights."""
    layout, channels, edges = SphericalLayout(lmax), 3, 7
    product = e3nn_product(lmax, filter_lmax, channels, "uvu", shared_weights=False, internal_weights=False)
    x, vec = torch.randn(edges, layout.size, channels).double(), torch.randn(edges, 3).double()
    flat = torch.randn(edges, product.weight_numel).double()
    theirs = layout.from_irreps(product(layout.to_irreps(x), harmonics(vec, filter_lmax), flat), channels)
    weights = (weight.squeeze(-1) for weight in product.weight_views(flat))
    rows = rows_of_weights(so2_weights(lmax, dict(zip(paths(lmax, filter_lmax), weights, strict=True))))
    layer = SO2Depthwise(lmax, lmax)
    assert rows.shape[1] == layer.num_scalars
    ours = OnEdges(layer, lmax, lmax).double()(x, vec, rows)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    if filter_lmax == 2 * lmax:
        assert len(paths(lmax, filter_lmax)) == layer.num_scalars


@pytest.mark.parametrize(("mmax", "o3"), [(3, False), (2, True), (0, False)])
def test_it_is_the_linear_map_with_diagonal_weights(mmax: int, o3: bool) -> None:
    linear, depthwise = SO2Linear(2, 2, 3, mmax, o3, bias=False), SO2Depthwise(3, mmax, o3)
    scalars = torch.randn(depthwise.num_scalars, 2)
    start = 0
    for weight in linear.weights:
        n = weight.shape[1] // 2
        for part in weight.data:
            rows = scalars[start : start + n * n].view(n, n, 2)
            part.copy_(torch.diag_embed(rows).permute(1, 2, 0, 3).flatten(2).flatten(0, 1))
            start += n * n
    assert start == depthwise.num_scalars
    x = torch.randn(5, len(EdgeLayout(3, mmax).rows), 2)
    assert torch.allclose(depthwise(x, scalars.expand(5, -1, -1)), linear(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("o3", [False, True])
def test_a_turn_about_the_edge_changes_nothing(o3: bool) -> None:
    depthwise = SO2Depthwise(3, 2, o3)
    layer = OnEdges(depthwise, 3, 2).double()
    x, vec = torch.randn(5, 16, 3).double(), torch.randn(5, 3).double()
    scalars = torch.randn(5, depthwise.num_scalars, 3).double()
    assert_roll_invariant(lambda roll: layer(x, vec, scalars, roll=roll), 5, 1e-13)
