"""Potential: energies, and derivatives that are right wherever they are taken."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from torch import Tensor
from torch_geometric.data import Batch, Data

from isometry.layers.equivariant import radius_graph
from isometry.models import Potential
from tests.models.atomistic import PairNetwork, lennard_jones

DOUBLE = torch.float64


def argon(strained: bool = True) -> Any:
    """A periodic crystal, smaller than the cutoff, skewed and shaken."""
    atoms = bulk("Ar", "fcc", a=2.4, cubic=True) * (1, 2, 1)
    atoms.rattle(0.1, seed=1)
    skew = 0.05 * np.random.default_rng(0).normal(size=(3, 3)) if strained else 0
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + skew), scale_atoms=True)
    atoms.calc = LennardJones(epsilon=0.1, sigma=1.5, rc=4.5, ro=3.0, smooth=True)
    return atoms


def inputs(atoms: Any, dtype: torch.dtype = DOUBLE) -> dict[str, Tensor]:
    numbers, pbc = torch.from_numpy(atoms.numbers).long(), torch.from_numpy(atoms.pbc)
    return {
        "z": numbers,
        "pos": torch.from_numpy(atoms.positions).to(dtype),
        "cell": torch.from_numpy(atoms.cell.array).to(dtype),
        "pbc": pbc,
    }


def ethanol(dtype: torch.dtype = DOUBLE) -> dict[str, Tensor]:
    atoms = molecule("CH3CH2OH")
    return {"z": torch.from_numpy(atoms.numbers).long(), "pos": torch.from_numpy(atoms.positions).to(dtype)}


def network(dtype: torch.dtype = DOUBLE, **options: Any) -> Potential:
    torch.manual_seed(0)
    references = {1: -13.0, 6: -1030.0, 8: -2040.0}
    return Potential(PairNetwork(), **{"reference_energies": references, "scale": 1.5} | options).to(dtype)


# --- against ase and finite differences ----------------------------------------------------------------------


def test_lennard_jones_is_that_of_ase() -> None:
    atoms = argon()
    with torch.no_grad():
        out = lennard_jones(stress=True)(**inputs(atoms))
    assert out["energy"].item() == pytest.approx(atoms.get_potential_energy(), rel=1e-13)
    assert np.allclose(out["forces"], atoms.get_forces(), rtol=0, atol=1e-12)
    assert np.allclose(out["stress"][0], atoms.get_stress(voigt=False), rtol=0, atol=1e-13)
    assert abs(atoms.get_forces()).max() > 1
    assert abs(atoms.get_stress()).min() > 1e-3


def test_forces_are_the_differences_of_the_energy() -> None:
    potential, x = network(), ethanol()
    forces = potential(**x)["forces"]
    step = 1e-4
    for i in range(len(x["z"])):
        for a in range(3):
            ends = []
            for sign in (-1, 1):
                pos = x["pos"].clone()
                pos[i, a] += sign * step
                ends.append(potential(x["z"], pos)["energy"].item())
            assert forces[i, a].item() == pytest.approx(-(ends[1] - ends[0]) / (2 * step), abs=2e-6)
    assert forces.abs().max() > 0.01


def test_the_stress_is_the_difference_under_strain() -> None:
    atoms = argon()
    atoms.numbers[:] = [1, 6, 8, 6, 1, 6, 8, 1]
    potential = network(stress=True)
    stress = potential(**inputs(atoms))["stress"][0]
    assert torch.equal(stress, stress.mT)
    step = 1e-5
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
        ends = []
        for sign in (-1, 1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            ends.append(potential(**inputs(strained))["energy"].item())
        expected = (ends[1] - ends[0]) / (2 * step) / atoms.get_volume()
        assert stress[a, b].item() == pytest.approx(expected, abs=1e-8)
    assert stress.abs().min() > 1e-5


# --- symmetry and batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("forces", ["conservative", "direct"])
def test_forces_turn_with_the_molecule(forces: Any) -> None:
    potential, x = network(forces=forces), ethanol()
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=DOUBLE))[0]  # a rotation or a reflection
    for matrix in (turn, -turn):
        out, turned = potential(**x), potential(x["z"], x["pos"] @ matrix.mT + 3.0)
        assert torch.allclose(turned["energy"], out["energy"], rtol=0, atol=1e-11)
        assert torch.allclose(turned["forces"], out["forces"] @ matrix.mT, rtol=0, atol=1e-11)
    assert out["forces"].abs().max() > 0.01


def test_conservative_forces_sum_to_zero() -> None:
    assert network()(**ethanol())["forces"].sum(0).abs().max() < 1e-13


def test_energies_of_far_molecules_add_up() -> None:
    potential, x = network(), ethanol()
    one = potential(**x)
    both = potential(torch.cat([x["z"]] * 2), torch.cat([x["pos"], x["pos"] + 100.0]))
    assert both["energy"].item() == pytest.approx(2 * one["energy"].item(), rel=1e-14)
    assert torch.allclose(both["forces"], torch.cat([one["forces"]] * 2), rtol=0, atol=1e-11)


def graphs() -> list[Data]:
    """Structures of different sizes and cells, periodic and not, one of a single atom."""
    crystal = inputs(argon())
    crystal["z"] = torch.tensor([1, 6, 8, 6, 1, 6, 8, 1])
    box = {"cell": 9 * torch.eye(3, dtype=DOUBLE), "pbc": torch.zeros(3, dtype=torch.bool)}
    atom = {"z": torch.tensor([8]), "pos": torch.zeros(1, 3, dtype=DOUBLE)}
    found = []
    for x in (ethanol() | box, crystal, atom | box):
        edge_index, shift = radius_graph(x["pos"], 4.0, None, x["cell"], x["pbc"])
        found.append(
            Data(z=x["z"], pos=x["pos"], cell=x["cell"][None], pbc=x["pbc"][None], edge_index=edge_index, shift=shift)
        )
    return found


@pytest.mark.parametrize("listed", [True, False], ids=["with edges", "without"])
def test_a_batch_is_a_loop(listed: bool) -> None:
    potential = network(stress=True)
    loop = [potential(graph) for graph in graphs()]
    batch = Batch.from_data_list(graphs())
    if not listed:
        batch.edge_index = batch.shift = None
    out = potential(batch)
    for key in ("energy", "forces", "stress"):
        assert torch.allclose(out[key], torch.cat([each[key] for each in loop]), rtol=1e-14, atol=1e-12)
    assert out["stress"][1].abs().max() > 1e-4


def test_atoms_may_come_in_any_order() -> None:
    potential, batch = network(stress=True), Batch.from_data_list(graphs())
    out, order = potential(batch), torch.randperm(len(batch.z))
    mixed = potential(batch.z[order], batch.pos[order], batch.batch[order], batch.cell, batch.pbc)
    assert torch.allclose(mixed["energy"], out["energy"], rtol=1e-14)
    assert torch.allclose(mixed["forces"], out["forces"][order], rtol=0, atol=1e-12)
    assert torch.allclose(mixed["stress"], out["stress"], rtol=0, atol=1e-12)


def test_a_single_atom_has_the_energy_of_its_features_and_no_force() -> None:
    out = network()(torch.tensor([6]), torch.zeros(1, 3, dtype=DOUBLE))
    assert out["energy"].item() == pytest.approx(-1030, abs=5)
    assert torch.equal(out["forces"], torch.zeros(1, 3, dtype=DOUBLE))


def test_no_atoms_have_no_energy() -> None:
    nothing = torch.zeros(0, 3, dtype=DOUBLE)
    out = network(stress=True)(
        torch.zeros(0, dtype=torch.int64),
        nothing,
        torch.zeros(0, dtype=torch.int64),
        torch.eye(3, dtype=DOUBLE).expand(2, 3, 3),
    )
    assert {key: value.tolist() for key, value in out.items()} == {
        "energy": [0.0, 0.0],
        "forces": [],
        "stress": torch.zeros(2, 3, 3).tolist(),
    }


# --- where derivatives are taken -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_forces_without_recording_are_the_same(mode: Any) -> None:
    potential, x = network(), ethanol()
    recorded = potential(**x)
    error = 1e-13 * recorded["forces"].norm().item()  # the order of sums differs
    with mode():
        made_inside = {key: value.clone() for key, value in x.items()}
        for given in (x, made_inside):
            out = potential(**given)
            assert torch.allclose(out["forces"], recorded["forces"], rtol=0, atol=error)
            assert not out["forces"].requires_grad


def test_weights_can_be_trained_on_forces_and_stress() -> None:
    """The gradient of a loss on forces and stress, by finite differences."""
    potential = network(stress=True)
    x = inputs(argon())
    x["z"] = torch.tensor([1, 6, 8, 6, 1, 6, 8, 1])

    def loss() -> Tensor:
        out = potential(**x)
        return out["forces"].square().sum() + out["stress"].square().sum() + out["energy"].square().sum() * 1e-6

    weight = potential.get_parameter("network.radial.2.weight")
    (gradient,) = torch.autograd.grad(loss(), weight)
    for i, j in [(0, 0), (7, 3), (17, 15)]:
        ends = []
        for sign in (-1, 1):
            with torch.no_grad():
                kept = weight[i, j].item()
                weight[i, j] += sign * 1e-5
                ends.append(loss().item())
                weight[i, j] = kept
        assert gradient[i, j].item() == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-5, abs=1e-7)


def test_positions_can_be_differentiated_twice() -> None:
    x = ethanol()
    x["pos"] = x["pos"][:4]
    potential = network()
    torch.autograd.gradgradcheck(lambda pos: potential(x["z"][:4], pos)["energy"], x["pos"].requires_grad_())


def test_float32_is_float64_rounded() -> None:
    single = network(torch.float32)
    double = copy.deepcopy(single).double()
    narrow, wide = single(**ethanol(torch.float32)), double(**ethanol())
    assert narrow["energy"].dtype == torch.float64
    assert narrow["energy"].item() == pytest.approx(wide["energy"].item(), abs=1e-4)
    assert narrow["forces"].dtype == torch.float32
    assert torch.allclose(narrow["forces"].double(), wide["forces"], atol=1e-5)


def test_reference_energies_outlive_a_conversion() -> None:
    """-2041.839 in float32 is off by 5e-5."""
    energies = {1: -13.568422, 6: -1029.4889999855063, 8: -2041.8396277138}
    potential = network(reference_energies=energies).float().half().double()
    assert potential.reference_energies == energies
    fresh = network()
    fresh.load_state_dict(potential.state_dict())
    assert fresh.reference_energies == energies


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_default_format_does_not_matter(dtype: torch.dtype) -> None:
    potential, x = network(), ethanol()
    expected = potential(**x)
    torch.set_default_dtype(dtype)
    out = potential(**x)
    assert all(torch.equal(out[key], expected[key]) for key in out)


@pytest.mark.parametrize("options", [{"forces": None}, {"forces": "direct"}, {"stress": True}])
def test_compiled_it_is_the_same(options: Any) -> None:
    potential, batch = network(**options), Batch.from_data_list(graphs())
    tensors = [batch[key] for key in ("z", "pos", "batch", "cell", "pbc", "edge_index", "shift")]
    expected = potential(*tensors)
    compiled = torch.compile(potential, fullgraph=True, backend="aot_eager")(*tensors)
    assert compiled.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.allclose(compiled[key], value, rtol=1e-13, atol=1e-12)


def test_energies_alone() -> None:
    assert network(forces=None)(**ethanol()).keys() == {"energy"}


# --- bad input -----------------------------------------------------------------------------------------------


def test_positions_of_another_format_keep_it() -> None:
    """A million units from the origin, where float32 has steps of 0.06: only edge vectors are rounded."""
    potential = network(torch.float32, stress=True)
    x = inputs(argon(), DOUBLE)
    x["z"] = torch.tensor([1, 6, 8, 6, 1, 6, 8, 1])
    near, moved = potential(**x), potential(**x | {"pos": x["pos"] + 2.0**20})
    single = potential(**{key: value.float() if value.is_floating_point() else value for key, value in x.items()})
    assert near["forces"].dtype == DOUBLE
    for key, value in near.items():
        assert torch.allclose(moved[key], value, rtol=0, atol=1e-4)
        assert torch.allclose(single[key].double(), value, rtol=0, atol=1e-4)


def test_unknown_species_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected the atomic numbers \[1, 6, 8\], but got \[7\] too"):
        network()(torch.tensor([1, 7]), torch.eye(3, dtype=DOUBLE)[:2])


def test_missing_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="expected positions `pos`"):
        network()(torch.tensor([1, 6]))
    with pytest.raises(ValueError, match="expected positions `pos`"):
        network()(Data(z=torch.tensor([1, 6])))


def test_a_stress_needs_a_volume() -> None:
    with pytest.raises(ValueError, match="a stress needs a cell with a volume"):
        network(stress=True)(**ethanol())
    flat = torch.zeros(3, 3, dtype=DOUBLE)
    with pytest.raises(ValueError, match="a stress needs a cell with a volume"):
        network(stress=True)(**ethanol(), cell=flat, pbc=torch.zeros(3, dtype=torch.bool))


def test_more_structures_than_cells_are_refused() -> None:
    x = ethanol()
    batch = torch.arange(len(x["z"])) % 2
    cell = torch.eye(3, dtype=DOUBLE)[None]
    with pytest.raises(ValueError, match="expected structures 0 to 0, as there are 1 cells, but batch has 1"):
        network()(**x, batch=batch, cell=cell, pbc=torch.zeros(1, 3, dtype=torch.bool))
    assert network()(**x, batch=batch, cell=cell[0], pbc=torch.zeros(3, dtype=torch.bool))["energy"].shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forces": "exact"}, "expected forces 'conservative', 'direct' or None, but got 'exact'"),
        ({"forces": "direct", "stress": True}, "a stress needs conservative forces"),
        ({"reference_energies": {1: 0.0}}, r"each species \[1, 6, 8\], but got none of \[6, 8\]"),
        ({"scale": 0.0}, r"expected a positive scale, but got 0\.0"),
    ],
)
def test_wrong_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_direct_forces_need_vectors() -> None:
    with pytest.raises(ValueError, match="direct forces are features of degree 1, but the network has lmax=0"):
        lennard_jones(forces="direct")
