import torch
from torch.nn.functional import silu

from isometry.layers.equivariant.gaunt import GauntProduct
from isometry.layers.equivariant.swiglu import SwiGLUS2
from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests, spherical
from isometry.layers.testing import LayerSuite


class TestSwiGLUS2(EquivariantTests, LayerSuite):
    cases = tuple(
        EquivariantCase(
            lambda lmax=lmax: SwiGLUS2(lmax),
            lambda n, lmax=lmax: torch.randn(n, (lmax + 1) ** 2, 6),
            ((lmax + 1) ** 2, 3),
            actions_in=(spherical(lmax),),
            action_out=spherical(lmax),
        )
        for lmax in (0, 1, 3)
    )


def test_on_scalars_it_is_swiglu() -> None:
    x = torch.randn(5, 1, 6, dtype=torch.float64)
    assert torch.allclose(SwiGLUS2(0).double()(x), silu(x[..., :3]) * x[..., 3:], rtol=0, atol=1e-15)


def test_it_is_a_gate_and_a_gaunt_product() -> None:
    a, b = torch.randn(2, 5, 9, 3, dtype=torch.float64)
    expected = GauntProduct(2, 2, 2, "dense").double()(torch.sigmoid(a[:, :1]) * a, b)
    assert torch.allclose(SwiGLUS2(2).double()(torch.cat([a, b], -1)), expected, rtol=0, atol=1e-14)
