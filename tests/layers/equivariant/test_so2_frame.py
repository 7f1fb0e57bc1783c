import torch

from isometry.layers.equivariant import EdgeLayout, SO2Frame, SphericalLayout, edge_frame
from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests, spherical, vectors
from isometry.layers.testing import LayerSuite
from isometry.layers.testing.case import float64_by_default
from tests.layers.equivariant.so2_oracles import OnEdges


class TestSO2Frame(EquivariantTests, LayerSuite):
    """Into the frames and back, with nothing between: what is left out by ``mmax`` is left out equivariantly."""

    cases = tuple(
        EquivariantCase(
            lambda mmax=mmax: OnEdges(torch.nn.Identity(), 3, mmax),
            lambda n: (torch.randn(n, 16, 2), torch.randn(n, 3)),
            (16, 2),
            actions_in=(spherical(3), vectors),
            action_out=spherical(3),
            cond=256.0,  # second derivatives of the frame at short vectors
            name=f"mmax={mmax}",
        )
        for mmax in (0, 2)
    )


def test_it_is_the_representation_of_the_frame_by_e3nn() -> None:
    vec = torch.randn(6, 3, dtype=torch.float64)
    roll = torch.rand(6, dtype=torch.float64)
    with float64_by_default():
        full = SphericalLayout(4).irreps(1).D_from_matrix(edge_frame(vec, roll))
    for mmax in range(5):
        frame = SO2Frame(4, mmax).double()(vec, roll)
        assert torch.allclose(frame, full[:, EdgeLayout(4, mmax).rows], rtol=0, atol=1e-13)


def test_all_orders_are_lossless() -> None:
    frame = SO2Frame(5, 5)(torch.randn(4, 3))
    assert torch.allclose(frame.mT @ frame, torch.eye(36).expand(4, 36, 36), rtol=0, atol=1e-5)


def test_no_edges_have_no_frames() -> None:
    assert SO2Frame(2, 1)(torch.empty(0, 3)).shape == (0, 7, 9)
