import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.autograd import grad, gradcheck, gradgradcheck

from isometry.layers.equivariant import edge_frame
from tests.layers.equivariant.so2_oracles import NEAR_POLES, POLES

AXIS = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_frames_are_rotations_that_take_the_vector_to_the_axis(dtype: torch.dtype, scale: float) -> None:
    vec = torch.cat([torch.randn(200, 3, dtype=torch.float64), POLES, NEAR_POLES]).to(dtype)
    for roll in (None, torch.rand(len(vec), dtype=dtype)):
        frame = edge_frame(vec * scale, roll).double()
        eps = torch.finfo(dtype).eps
        assert torch.allclose(frame @ frame.mT, torch.eye(3).double(), rtol=0, atol=8 * eps)
        assert torch.allclose(torch.linalg.det(frame), torch.ones(1).double(), rtol=0, atol=8 * eps)
        direction = vec.double() / vec.double().norm(dim=-1, keepdim=True)
        assert torch.allclose((frame @ direction[..., None])[..., 0], AXIS.expand_as(direction), rtol=0, atol=8 * eps)


def test_frames_are_those_of_the_two_quaternions() -> None:
    """``(1 + y, -z, 0, x)`` around the upper pole and ``(-z, 1 - y, x, 0)`` around the lower, by scipy."""
    vec = torch.nn.functional.normalize(torch.randn(50, 3, dtype=torch.float64), dim=-1)
    for (x, y, z), frame in zip(vec.tolist(), edge_frame(vec), strict=True):
        w_first = (1 + y, -z, 0, x) if y >= 0 else (-z, 1 - y, x, 0)
        expected = torch.from_numpy(Rotation.from_quat([*w_first[1:], w_first[0]]).as_matrix())
        assert torch.allclose(frame, expected, rtol=0, atol=1e-14)


def test_a_roll_turns_z_towards_x() -> None:
    quarter = torch.full((1,), math.pi / 2, dtype=torch.float64)
    frame = edge_frame(AXIS.unsqueeze(0), quarter)
    assert torch.allclose(frame @ torch.tensor([0, 0, 1.0]).double(), torch.tensor([1.0, 0, 0]).double(), atol=1e-15)


def test_derivatives_are_exact_at_the_poles_too() -> None:
    vec = torch.cat([torch.randn(5, 3, dtype=torch.float64), POLES[:2], NEAR_POLES]).requires_grad_()
    gradcheck(edge_frame, vec)
    gradgradcheck(edge_frame, vec)


def test_the_derivative_of_a_pole_is_that_of_the_smallest_rotation() -> None:
    """There R turns about ``vec x y``, so that ``dR = [d x y]_x``, and of the lower pole ``[d x y]_x R``."""
    for dtype in (torch.float32, torch.float64):
        for pole in (1, -1):
            vec = torch.tensor([0.0, pole, 0.0], dtype=dtype)
            x, _, z = torch.autograd.functional.jacobian(edge_frame, vec).unbind(-1)
            turn_x = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 0]], dtype=dtype)
            turn_z = torch.tensor([[0, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=dtype)
            frame = edge_frame(vec)
            assert torch.equal(x, turn_x @ frame)
            assert torch.equal(z, pole * turn_z @ frame)


def test_no_vector_gives_the_identity_without_derivatives() -> None:
    zero = torch.zeros(2, 3, requires_grad=True)
    frame = edge_frame(zero)
    assert torch.equal(frame, torch.eye(3).expand(2, 3, 3))
    (first,) = grad((frame * torch.randn(2, 3, 3)).sum(), zero)
    assert torch.equal(first, torch.zeros(2, 3))
    assert edge_frame(torch.empty(0, 3)).shape == (0, 3, 3)
