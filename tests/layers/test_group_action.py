import pytest
import torch
from e3nn import o3
from torch import Tensor

from isometry.layers import LinearAction, RotationAction
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import SpecialOrthogonal

IRREPS = "3x0e + 2x1o + 1x2e + 1x4e"


def rotations(count: int) -> Tensor:
    return SpecialOrthogonal(3).random(count, 3, 3)


class TestLinearAction(LayerSuite):
    cases = (LayerCase(lambda: LinearAction(9, 4), lambda n: (rotations(n), torch.randn(n, 4)), (4,)),)


class TestRotationAction(LayerSuite):
    cases = (
        LayerCase(
            lambda: RotationAction(IRREPS),
            lambda n: (rotations(n), torch.randn(n, 23)),
            (23,),
            manifold_in=(SpecialOrthogonal(3), None),
        ),
    )


def matrices(action: LinearAction | RotationAction, z: Tensor) -> Tensor:
    """Return W(z), by its action on the basis."""
    basis = torch.eye(action.features, dtype=z.dtype)
    return action(z.unsqueeze(1).expand(-1, action.features, 3, 3), basis.expand(len(z), -1, -1)).mT


def test_it_is_a_representation_by_construction() -> None:
    torch.set_default_dtype(torch.float64)
    action, first, second = RotationAction(IRREPS), rotations(20), rotations(20)
    of_first, of_second = matrices(action, first), matrices(action, second)
    assert (matrices(action, first @ second) - of_first @ of_second).abs().max() < 1e-13
    assert (of_first.mT @ of_first - torch.eye(23)).abs().max() < 1e-13
    assert (matrices(action, first.mT) - of_first.mT).abs().max() < 1e-13
    assert torch.allclose(matrices(action, torch.eye(3)[None])[0], torch.eye(23), rtol=0, atol=1e-14)


def test_the_representation_is_that_of_e3nn() -> None:
    torch.set_default_dtype(torch.float64)
    z = rotations(10)
    expected = o3.Irreps(IRREPS.replace("o", "e")).D_from_matrix(z)
    assert torch.allclose(matrices(RotationAction(IRREPS), z), expected, rtol=0, atol=1e-12)


def test_the_exponential_of_free_generators_is_no_representation() -> None:
    """Why there is no such layer: it fails for rotations about different axes, and holds about one."""
    torch.set_default_dtype(torch.float64)
    free = torch.randn(3, 5, 5)
    generators = free - free.mT

    def of(z: Tensor) -> Tensor:
        log = SpecialOrthogonal(3).logmap(torch.eye(3).expand_as(z), z)
        axis = torch.stack([log[..., 2, 1], log[..., 0, 2], log[..., 1, 0]], -1)
        return torch.linalg.matrix_exp(torch.einsum("...a,aij->...ij", axis, generators))

    z = rotations(20)
    assert (of(z @ z.roll(1, 0)) - of(z) @ of(z.roll(1, 0))).abs().amax((1, 2)).min() > 0.1
    half = SpecialOrthogonal(3).geodesic(0.5, torch.eye(3).expand_as(z), z)
    assert torch.allclose(of(z), of(half) @ of(half), atol=1e-12)


def test_the_linear_action_is_the_sum_of_its_matrices() -> None:
    torch.set_default_dtype(torch.float64)
    action, z = LinearAction(9, 4), rotations(5)
    expected = sum(z.flatten(1)[:, a, None, None] * action.weight[a] for a in range(9))
    assert torch.allclose(matrices(action, z), expected, atol=1e-14)
    assert torch.equal(action(-z, torch.ones(5, 4)), -action(z, torch.ones(5, 4)))


@pytest.mark.parametrize("irreps", ["2x0e", "1x1o + 2x0e"])
def test_degrees_0_and_1(irreps: str) -> None:
    action, z, x = RotationAction(irreps), rotations(3), torch.randn(3, o3.Irreps(irreps).dim)
    y = action(z, x)
    assert torch.equal(y[:, -2:], x[:, -2:])
    if "1o" in irreps:
        assert torch.allclose(y[:, :3], (z @ x[:, :3, None])[..., 0], atol=1e-6)
