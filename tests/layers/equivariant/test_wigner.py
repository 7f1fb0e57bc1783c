import pytest
import torch
from e3nn import o3
from torch import Tensor, nn

from isometry.layers.equivariant import WignerD, edge_frame, spherical_harmonics
from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests
from isometry.layers.testing import LayerSuite
from isometry.layers.testing.case import float64_by_default
from tests.layers.equivariant.so2_oracles import NEAR_POLES, POLES


def random_rotations(count: int) -> Tensor:
    with float64_by_default():
        return o3.rand_matrix(count)


class OfRotations(nn.Module):
    """The matrix of one degree."""

    def __init__(self) -> None:
        super().__init__()
        self.wigner = WignerD(3)

    def forward(self, rotation: Tensor) -> Tensor:
        return self.wigner(rotation)[3]


def to_the_left(matrix: Tensor, rotation: Tensor) -> Tensor:
    return rotation @ matrix


def represented(matrix: Tensor, rotation: Tensor) -> Tensor:
    with float64_by_default():
        return o3.Irrep(3, 1).D_from_matrix(rotation) @ matrix


class TestWignerD(EquivariantTests, LayerSuite):
    """In the suite's words, ``D(R X) = D(R) D(X)`` says that the function D of X is equivariant."""

    cases = (
        EquivariantCase(
            OfRotations,
            lambda n: torch.randn(n, 3, 3),  # D(R X) = D(R) D(X) for the polynomials D at any matrix X
            (7, 7),
            actions_in=(to_the_left,),
            action_out=represented,
            group="SO(3)",
        ),
    )


def test_they_are_those_of_e3nn() -> None:
    rotations = random_rotations(20)
    with float64_by_default():
        expected = [o3.Irrep(degree, 1).D_from_matrix(rotations) for degree in range(9)]
    for dtype, bound in ((torch.float64, 1e-13), (torch.float32, 2e-6)):
        for ours, theirs in zip(WignerD(8).to(dtype)(rotations.to(dtype)), expected, strict=True):
            assert ours.dtype == dtype
            assert torch.allclose(ours.double(), theirs, rtol=0, atol=bound)


def test_products_of_rotations_become_products_of_matrices() -> None:
    a, b = random_rotations(2)[:, None]
    wigner = WignerD(6).double()
    for first, second, both in zip(wigner(a), wigner(b), wigner(a @ b), strict=True):
        assert torch.allclose(first @ second, both, rtol=0, atol=1e-13)


def test_they_turn_spherical_harmonics() -> None:
    rotations, vec = random_rotations(10).view(2, 5, 3, 3), torch.randn(2, 5, 3, dtype=torch.float64)
    y, turned = (spherical_harmonics(v, 10) for v in (vec, (rotations @ vec[..., None])[..., 0]))
    sizes = [2 * degree + 1 for degree in range(11)]
    blocks = WignerD(10).double()(rotations)
    for matrix, before, after in zip(blocks, y.split(sizes, -1), turned.split(sizes, -1), strict=True):
        assert torch.allclose((matrix @ before[..., None])[..., 0], after, rtol=0, atol=1e-12)


def test_in_the_frame_of_its_vector_a_spherical_harmonic_has_one_entry() -> None:
    """And zero derivative along every other, exactly the condition that Euler angles break at the poles."""
    for dtype, bound in ((torch.float64, 1e-13), (torch.float32, 2e-5)):
        vec = torch.cat([POLES, NEAR_POLES]).to(dtype).requires_grad_()
        blocks, y = WignerD(4).to(dtype)(edge_frame(vec)), spherical_harmonics(vec, 4)
        for degree, matrix in enumerate(blocks):
            inside = (matrix @ y[:, degree**2 : (degree + 1) ** 2, None])[..., 0]
            expected = torch.zeros_like(inside)
            expected[:, degree] = (2 * degree + 1) ** 0.5
            assert torch.allclose(inside, expected, rtol=0, atol=bound)
            slopes = [torch.autograd.grad(inside[:, m].sum(), vec, retain_graph=True)[0] for m in range(2 * degree + 1)]
            assert torch.stack(slopes).abs().max() < bound * 10


def test_degree_zero_alone_and_negative_degrees() -> None:
    assert [block.shape for block in WignerD(0)(torch.eye(3))] == [(1, 1)]
    assert [block.shape for block in WignerD(2)(torch.empty(0, 3, 3))] == [(0, 1, 1), (0, 3, 3), (0, 5, 5)]
    with pytest.raises(ValueError, match="expected lmax >= 0, but got -1"):
        WignerD(-1)


@pytest.mark.peers
def test_fairchem_agrees() -> None:
    """Both turn the vector to the axis; they differ by a turn about it."""
    from tests.layers.equivariant.fairchem_modules import wigner_of_edges

    vec = torch.randn(20, 3, dtype=torch.float64)
    theirs = wigner_of_edges(6, torch.float64)(vec)
    rotation = theirs[:, 1:4, 1:4]
    assert torch.allclose(rotation @ vec[..., None], edge_frame(vec) @ vec[..., None], rtol=0, atol=1e-13)
    for degree, ours in enumerate(WignerD(6).double()(rotation)):
        rows = slice(degree**2, (degree + 1) ** 2)
        assert torch.allclose(ours, theirs[:, rows, rows], rtol=0, atol=1e-12)
