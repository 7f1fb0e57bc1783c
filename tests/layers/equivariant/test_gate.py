import pytest
import torch
from e3nn import o3
from e3nn.nn import Gate as Peer

from isometry.layers.equivariant.gate import Gate
from isometry.layers.equivariant.layout import SphericalLayout
from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests, invariant, spherical
from isometry.layers.testing import LayerSuite


class TestGate(EquivariantTests, LayerSuite):
    cases = tuple(
        EquivariantCase(
            lambda lmax=lmax: Gate(lmax),
            lambda n, lmax=lmax: (torch.randn(n, (lmax + 1) ** 2, 3), torch.randn(n, lmax, 3)),
            ((lmax + 1) ** 2, 3),
            actions_in=(spherical(lmax), invariant),
            action_out=spherical(lmax),
        )
        for lmax in (1, 3)
    )


def test_it_is_the_gate_of_e3nn() -> None:
    """Up to e3nn's factors, which give the activations a second moment of 1 on normal inputs."""
    torch.set_default_dtype(torch.float64)
    layout, channels = SphericalLayout(2), 4
    scalars, gated = layout.irreps(channels)[:1], layout.irreps(channels)[1:]
    peer = Peer(scalars, [torch.nn.functional.silu], o3.Irreps(f"{2 * channels}x0e"), [torch.sigmoid], gated)
    x, gates = torch.randn(5, 9, channels), torch.randn(5, 2, channels)
    flat = layout.to_irreps(x)
    theirs = layout.from_irreps(
        peer(torch.cat([flat[:, :channels], gates.flatten(1), flat[:, channels:]], 1)), channels
    )
    ours = Gate(2)(x, gates)
    ours[:, :1] *= peer.act_scalars.acts[0].cst
    ours[:, 1:] *= peer.act_gates.acts[0].cst
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-13)


def test_a_negative_degree_is_refused() -> None:
    with pytest.raises(ValueError, match="expected lmax >= 0, but got -1"):
        Gate(-1)


def test_without_higher_degrees_it_is_silu() -> None:
    x = torch.randn(4, 1, 3)
    assert torch.equal(Gate(0)(x, torch.empty(4, 0, 3)), torch.nn.functional.silu(x))
