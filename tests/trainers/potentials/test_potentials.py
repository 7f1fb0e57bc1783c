"""Potentials at work: calculator, energy conservation, compilation and export, each against the potential."""

import copy
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from isometry.models import Potential
from isometry.trainers import ForceField
from isometry.trainers.data import AtomsDataModule, atoms_graph
from isometry.trainers.optim import RiemannianAdam
from isometry.trainers.potentials import (
    PotentialCalculator,
    PotentialMismatchError,
    compile_potential,
    export_potential,
    nve_drift,
)
from tests.models.atomistic import PairNetwork, lennard_jones
from tests.trainers.callbacks.toy import trainer
from tests.trainers.test_force_field import frames

ARGON = partial(LennardJones, epsilon=0.1, sigma=1.5, rc=4.5, ro=3.0, smooth=True)


def argon() -> Atoms:
    atoms = bulk("Ar", "fcc", a=2.4, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def network(seed: int = 0, dtype: torch.dtype = torch.float64, **options: Any) -> Potential:
    torch.manual_seed(seed)
    return Potential(PairNetwork(), reference_energies={1: -13.0, 6: -1030.0, 8: -2040.0}, **options).to(dtype)


def graph(name: str = "CH3CH2OH", dtype: Any = "float64", side: float = 9.0) -> Data:
    atoms = molecule(name)
    atoms.set_cell(side * np.eye(3))
    return atoms_graph(atoms, 4.0, dtype=dtype)


# --- the calculator ------------------------------------------------------------------------------------------


def test_the_calculator_is_that_of_ase() -> None:
    mine, theirs = argon(), argon()
    mine.calc, theirs.calc = PotentialCalculator(lennard_jones(stress=True)), ARGON()
    assert mine.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), rel=1e-12)
    assert np.allclose(mine.get_forces(), theirs.get_forces(), rtol=0, atol=1e-11)
    assert np.allclose(mine.get_stress(), theirs.get_stress(), rtol=0, atol=1e-12)
    for atoms in (mine, theirs):
        BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=50)
    assert np.allclose(mine.cell.array, theirs.cell.array, atol=1e-6)
    assert mine.get_volume() != pytest.approx(argon().get_volume(), rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_calculator_of_a_molecule_is_the_potential(dtype: torch.dtype) -> None:
    atoms, potential = molecule("CH3CH2OH"), network(dtype=dtype)
    atoms.calc = PotentialCalculator(potential)
    out = potential(torch.from_numpy(atoms.numbers), torch.from_numpy(atoms.positions))
    assert atoms.get_potential_energy() == pytest.approx(out["energy"].item(), rel=1e-12)
    assert np.allclose(atoms.get_forces(), out["forces"].detach(), rtol=0, atol=1e-6)
    assert abs(atoms.get_forces()).max() > 0.01


def test_an_ensemble_has_the_mean_and_the_deviation_of_its_members() -> None:
    members = [network(seed) for seed in range(3)]
    atoms = molecule("CH3CH2OH")
    atoms.calc = PotentialCalculator(members)
    outs = [potential(graph()) for potential in members]
    energies = torch.cat([out["energy"] for out in outs]).detach().numpy()
    forces = torch.stack([out["forces"] for out in outs]).detach().numpy()
    assert atoms.get_potential_energy() == pytest.approx(energies.mean(), rel=1e-12)
    assert np.allclose(atoms.get_forces(), forces.mean(0), rtol=0, atol=1e-10)
    assert atoms.calc.results["energy_std"] == pytest.approx(energies.std(ddof=1), rel=1e-9)
    assert np.allclose(atoms.calc.results["forces_std"], forces.std(0, ddof=1), rtol=0, atol=1e-10)
    assert atoms.calc.results["forces_std"].shape == (len(atoms), 3)


def test_members_of_other_cutoffs_or_without_forces_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of one cutoff with forces, but got 2 of cutoffs \[4\.0, 5\.0\]"):
        PotentialCalculator([network(), Potential(PairNetwork(cutoff=5.0))])
    with pytest.raises(ValueError, match=r"forces \[None\]"):
        PotentialCalculator(network(forces=None))
    with pytest.raises(ValueError, match="but got 0 of cutoffs"):
        PotentialCalculator([])


# --- energy conservation -------------------------------------------------------------------------------------


def test_an_exact_potential_conserves_energy_to_second_order() -> None:
    calculator = PotentialCalculator(lennard_jones())
    start = argon() * (2, 1, 1)
    coarse, fine = (nve_drift(calculator, start, 40.0, step, round(200 / step)) for step in (2.0, 1.0))
    assert coarse.time[-1] == fine.time[-1] == pytest.approx(0.2)
    assert fine.temperature[0] == pytest.approx(40, rel=0.5)
    assert coarse.fluctuation / fine.fluctuation == pytest.approx(4, rel=0.2)
    assert abs(fine.slope) * fine.time[-1] < 0.1 * fine.fluctuation


def test_direct_forces_do_not_conserve_energy() -> None:
    """Of an untrained network, for the same molecule and rate of change of the energies."""
    slopes = []
    for forces in ("conservative", "direct"):
        drift = nve_drift(PotentialCalculator(network(forces=forces)), molecule("CH3CH2OH"), 300.0, 0.25, 200)
        slopes.append(max(abs(drift.slope), drift.fluctuation / drift.time[-1]))
    assert slopes[1] > 100 * slopes[0]


def test_the_drift_of_the_same_seed_is_the_same_and_the_start_stays() -> None:
    start = argon()
    before = start.positions.copy()
    first, second = (nve_drift(ARGON(), start, steps=10, every=5, seed=3) for _ in range(2))
    assert np.array_equal(first.energy, second.energy)
    assert len(first.time) == 3
    assert np.array_equal(start.positions, before)


def test_a_drift_of_no_steps_and_of_no_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least every=5 >= 1 steps, but got 2"):
        nve_drift(ARGON(), argon(), steps=2, every=5)
    broken = lennard_jones()
    with torch.no_grad():
        broken.network.epsilon.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the energy is nan after"):
        nve_drift(PotentialCalculator(broken), argon(), steps=2)


# --- compilation ---------------------------------------------------------------------------------------------


def test_a_compiled_potential_is_the_same_for_other_sizes() -> None:
    eager = network()
    compiled = compile_potential(copy.deepcopy(eager), Batch.from_data_list([graph(), graph("CH4")]), "aot_eager")
    for names in (["CH4", "CH3OH", "CH3CH2OH"], ["H2O", "H2O"]):
        batch = Batch.from_data_list([graph(name) for name in names])
        expected, found = (
            potential(batch.z, batch.pos, batch.batch, batch.cell, batch.pbc, batch.edge_index, batch.shift)
            for potential in (eager, compiled)
        )
        for key, value in expected.items():
            assert torch.allclose(found[key], value, rtol=1e-12, atol=1e-12)


def test_a_compiled_potential_trains_as_the_eager_one(tmp_path: Path) -> None:
    """The gradients of the weights go through forces; with the compiler's own kernels in the slow test below."""
    parameters = []
    for compiled in (False, True):
        potential = network()
        parts = AtomsDataModule(frames(9), val_size=3, cutoff=4.0, batch_size=3, dtype="float64")
        if compiled:
            compile_potential(potential, Batch.from_data_list(parts.parts["train"][:3]), "aot_eager")
        task = ForceField(potential, partial(RiemannianAdam, lr=0.01))
        trainer(tmp_path, max_epochs=2).fit(task, parts)
        parameters.append(torch.cat([p.detach().flatten() for p in task.parameters()]))
    assert torch.allclose(*parameters, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_inductor_compiles_it() -> None:
    batch = Batch.from_data_list([graph(dtype="float32"), graph("CH4", "float32")])
    compile_potential(network(dtype=torch.float32), batch)


@pytest.mark.parametrize("wrong", ["forces", "energy", "gradients"])
def test_a_wrong_compiler_is_caught(wrong: str) -> None:
    """Forces of zero, as torch.compile has left them in silence (ACEsuit/mace#1008), and an energy that is off."""

    def backend(module: Any, inputs: list[Tensor]) -> Any:
        def run(*args: Any) -> list[Tensor]:
            outputs = list(module(*args))
            for i, value in enumerate(outputs):
                is_energy = value.dtype == torch.float64 and value.ndim == 1
                if wrong == "energy" and is_energy:
                    outputs[i] = value + 1e-3
                elif wrong == "forces" and not is_energy:
                    outputs[i] = 0 * value
                elif wrong == "gradients":
                    outputs[i] = value.detach() + 0 * value
            return outputs

        return run

    potential = network(dtype=torch.float32)
    with pytest.raises(PotentialMismatchError, match=f"compile_potential: {wrong} differ from those of the eager"):
        compile_potential(potential, Batch.from_data_list([graph(dtype="float32")] * 2), backend)
    assert torch.equal(
        potential(graph(dtype="float32"))["energy"], network(dtype=torch.float32)(graph(dtype="float32"))["energy"]
    )


def test_an_example_without_forces_compares_nothing() -> None:
    atom = atoms_graph(Atoms("O", cell=9 * np.eye(3)), 4.0, dtype="float64")
    with pytest.raises(ValueError, match="forces that are not 0"):
        compile_potential(network(), atom)
    with pytest.raises(ValueError, match="with edges and cells"):
        compile_potential(network(), Data(z=torch.tensor([1]), pos=torch.zeros(1, 3)))


# --- export --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"stress": True}, {"forces": "direct"}])
def test_an_exported_potential_is_the_same_for_other_sizes(tmp_path: Path, options: Any) -> None:
    potential = network(**options)
    export_potential(potential, graph(), tmp_path / "potential.pt2")
    program = torch.export.load(tmp_path / "potential.pt2").module()
    for name in ("CH3CH2OH", "CH4", "O", "CH3COCH3"):
        x = graph(name, side=5.0)
        found, expected = program(x.z, x.pos, x.cell, x.edge_index, x.shift), potential(x)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.allclose(found[key], value, rtol=1e-13, atol=1e-12)


def test_an_exported_potential_refuses_unknown_atoms() -> None:
    x = graph("NH3")
    program = export_potential(network(), graph()).module()
    with pytest.raises(RuntimeError, match="unknown atomic number"):
        program(x.z, x.pos, x.cell, x.edge_index, x.shift)


def test_a_batch_is_not_exported() -> None:
    with pytest.raises(ValueError, match="expected one structure"):
        export_potential(network(), Batch.from_data_list([graph(), graph()]))


# --- without ase ---------------------------------------------------------------------------------------------


def test_without_ase_it_is_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['ase'] = None\n"
        "import isometry.trainers, isometry.trainers.data, isometry.trainers.potentials as potentials\n"
        "potentials.compile_potential\n"
        "for use in (lambda: potentials.PotentialCalculator, lambda: isometry.trainers.data.read_frames('a.xyz')):\n"
        "    try: use()\n"
        "    except ModuleNotFoundError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install isometry[atoms]") == 2, done
    assert isinstance(network().readout, nn.Module)
