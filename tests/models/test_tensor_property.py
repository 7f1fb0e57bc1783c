"""TensorProperty: symmetric tensors that turn with the structure."""

import copy
from typing import Any

import pytest
import torch
from ase.build import molecule
from torch import Tensor
from torch_geometric.data import Batch, Data

from isometry.models import TensorNet, TensorProperty
from tests.models.atomistic import LennardJonesNetwork, PairNetwork

FORMS = pytest.mark.parametrize("positive", [False, True], ids=["flat", "positive"])


def model(positive: bool = False, **options: Any) -> TensorProperty:
    torch.manual_seed(0)
    return TensorProperty(PairNetwork(), positive=positive, **options).double()


def ethanol(name: str = "CH3CH2OH") -> tuple[Tensor, Tensor]:
    atoms = molecule(name)
    return torch.from_numpy(atoms.numbers).long(), torch.from_numpy(atoms.positions)


@FORMS
def test_tensors_are_symmetric_and_turn_with_the_molecule(positive: bool) -> None:
    z, pos = ethanol()
    property_ = model(positive)
    tensor = property_(z, pos)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    for matrix in (turn, -turn):  # a rotation and a reflection
        turned = property_(z, pos @ matrix.mT + 5)
        assert torch.allclose(turned, matrix @ tensor @ matrix.mT, rtol=0, atol=1e-12)
    assert tensor.shape == (1, 3, 3)
    assert torch.allclose(tensor, tensor.mT, rtol=0, atol=1e-14)
    deviator = tensor - tensor.diagonal(0, 1, 2).mean() * torch.eye(3)
    assert deviator.abs().max() > 0.1


def test_the_exponential_is_positive_definite_whatever_the_weights() -> None:
    z, pos = ethanol()
    smallest = {}
    for positive in (False, True):
        property_ = model(positive)
        with torch.no_grad():
            for parameter in property_.parameters():
                parameter.mul_(3)
            smallest[positive] = torch.linalg.eigvalsh(property_(z, pos)).min().item()
    assert smallest[False] < 0 < smallest[True]


@FORMS
def test_tensors_add_up_and_a_batch_is_a_loop(positive: bool) -> None:
    property_, names = model(positive), ("CH3CH2OH", "H2O", "CH4")
    alone = torch.cat([property_(*ethanol(name)) for name in names])
    batch = Batch.from_data_list([Data(z=z, pos=pos) for z, pos in map(ethanol, names)])
    assert torch.allclose(property_(batch), alone, rtol=0, atol=1e-12)
    far = [pos + 100 * k for k, (_, pos) in enumerate(map(ethanol, names))]
    assert torch.allclose(property_(batch.z, torch.cat(far)), alone.sum(0, keepdim=True), rtol=0, atol=1e-11)


@FORMS
def test_it_starts_at_the_scale_of_each_atom(positive: bool) -> None:
    """With a readout of zeros."""
    property_ = model(positive, scale=2.5)
    with torch.no_grad():
        property_.readout.mlp[-1].weight.zero_()
        property_.readout.mlp[-1].bias.zero_()
    assert torch.allclose(property_(*ethanol("H2O")), 7.5 * torch.eye(3).double().expand(1, 3, 3), rtol=1e-14)


@FORMS
def test_gradients_are_those_of_finite_differences(positive: bool) -> None:
    """Also of an atom alone, whose eigenvalues coincide."""
    z, pos = ethanol("H2O")
    property_ = model(positive)
    torch.autograd.gradcheck(lambda pos: property_(z, pos), pos.requires_grad_())
    property_(z[:1], pos[:1]).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in property_.parameters())


@FORMS
def test_float32_is_float64_rounded(positive: bool) -> None:
    z, pos = ethanol()
    single = model(positive).float()
    double = copy.deepcopy(single).double()
    found = single(z, pos.float())
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), double(z, pos), rtol=0, atol=1e-4)


def test_it_works_on_a_published_network() -> None:
    z, pos = ethanol()
    property_ = TensorProperty(TensorNet([1, 6, 8], 4.0, channels=8), positive=True).double()
    property_(z, pos).square().sum().backward()
    assert all(p.grad is not None for p in property_.readout.parameters())


def test_features_without_degree_two_and_scales_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="expected features of degree 2, but got lmax=0"):
        TensorProperty(LennardJonesNetwork())
    with pytest.raises(ValueError, match=r"expected a positive scale, but got 0\.0"):
        model(scale=0.0)
