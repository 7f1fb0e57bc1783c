import torch

from isometry.layers.equivariant import EdgeLayout, Gate, SO2Gate, SO2Message, SphericalLayout
from isometry.layers.equivariant.testing import (
    EquivariantCase,
    EquivariantTests,
    assert_roll_invariant,
    invariant,
    spherical,
    vectors,
)
from isometry.layers.testing import LayerSuite
from tests.layers.equivariant.so2_oracles import OnEdges


class TestSO2Message(EquivariantTests, LayerSuite):
    # two linear maps of up to 15 inputs and a sigmoid
    cases = tuple(
        EquivariantCase(
            lambda mmax=mmax, o3=o3: OnEdges(SO2Message(3, 4, 2, 2, mmax, o3), 2, mmax),
            lambda n, mmax=mmax: (
                torch.randn(n, 9, 3),
                torch.randn(n, 3),
                torch.randn(n, sum(EdgeLayout(2, mmax).counts), 3),
            ),
            (9, 2),
            actions_in=(spherical(2), vectors, invariant),
            action_out=spherical(2),
            group="O(3)" if o3 else "SO(3)",
            cond=512.0,
            name=f"mmax={mmax}-{'O(3)' if o3 else 'SO(3)'}",
        )
        for mmax, o3 in ((2, False), (1, True))
    )


def test_the_gate_in_the_frame_is_the_gate_in_space() -> None:
    x, gates = torch.randn(5, 16, 3), torch.randn(5, 3, 3)
    for mmax in range(4):
        rows = EdgeLayout(3, mmax).rows
        assert torch.equal(SO2Gate(3, mmax)(x[:, rows], gates), Gate(3)(x, gates)[:, rows])


def test_a_turn_about_the_edge_changes_nothing() -> None:
    layer = OnEdges(SO2Message(3, 4, 2, 3, 2), 3, 2).double()
    x, vec = torch.randn(5, SphericalLayout(3).size, 3).double(), torch.randn(5, 3).double()
    assert_roll_invariant(lambda roll: layer(x, vec, roll=roll), 5, 1e-13)
