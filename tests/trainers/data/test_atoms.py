"""Structures from files: what ase reads becomes graphs, and what is missing is named."""

import os
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list

from isometry.models import Potential
from isometry.trainers.data import AtomsDataModule, atoms_graph, read_frames
from isometry.trainers.data.atoms_data import OrderedAtoms, ShuffledAtoms
from tests.models.atomistic import PairNetwork

REAL = Path(os.environ.get("ISOMETRY_MOLECULES", "molecules"))


def labelled(name: str = "CH3CH2OH", seed: int = 0) -> Atoms:
    atoms = molecule(name)
    atoms.rattle(0.05, seed=seed)
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


ALL = {"energy": "energy", "forces": "forces", "stress": "stress"}


# --- graphs --------------------------------------------------------------------------------------------------


def test_a_graph_has_what_ase_has() -> None:
    atoms = copper()
    graph = atoms_graph(atoms, 4.0, ALL, "float64")
    i, j, shift = neighbor_list("ijS", atoms, 4.0)
    mine = {tuple(row) for row in torch.cat([graph.edge_index.flip(0), graph.shift.T.long()]).T.tolist()}
    assert mine == {(a, b, *c) for a, b, c in zip(i.tolist(), j.tolist(), shift.tolist(), strict=True)}
    assert np.array_equal(graph.z, atoms.numbers)
    assert np.array_equal(graph.pos, atoms.positions)
    assert np.array_equal(graph.cell[0], atoms.cell.array)
    assert graph.pbc.tolist() == [[True, True, True]]
    assert graph.energy.item() == atoms.get_potential_energy()
    assert np.array_equal(graph.forces, atoms.get_forces())
    assert np.array_equal(graph.stress[0], atoms.get_stress(voigt=False))


def test_single_precision_keeps_the_energy_in_double() -> None:
    atoms = labelled()
    atoms.calc.results["energy"] = -97079.92222178938
    graph = atoms_graph(atoms, 4.0, {"energy": "energy", "forces": "forces"})
    assert graph.energy.tolist() == [-97079.92222178938]
    assert {graph.pos.dtype, graph.forces.dtype, graph.cell.dtype, graph.shift.dtype} == {torch.float32}


def test_labels_are_found_wherever_they_are() -> None:
    """Nine numbers of a molecule of nine atoms: of each atom, or a matrix of the structure."""
    atoms = labelled()
    assert len(atoms) == 9
    atoms.info |= {"dft_energy": np.float64(-3.0), "alpha": np.arange(9.0), "name": "ethanol", "count": 3}
    atoms.arrays["q"] = np.arange(9.0)
    labels = {"energy": "dft_energy", "alpha": "alpha", "q": "q", "count": "count"}
    graph = atoms_graph(atoms, 4.0, labels, "float64")
    assert graph.energy.tolist() == [-3]
    assert graph.alpha.tolist() == [[[0, 1, 2], [3, 4, 5], [6, 7, 8]]]
    assert graph.q.tolist() == list(range(9))
    assert graph["count"].tolist() == [3]


@pytest.mark.parametrize("value", [np.arange(6.0), np.arange(9.0).reshape(3, 3)])
def test_a_stress_is_six_or_nine_numbers(value: Any) -> None:
    atoms = copper()
    atoms.info["virial_stress"] = value
    stress = atoms_graph(atoms, 4.0, {"stress": "virial_stress"}).stress
    expected = [[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] if value.size == 6 else [value.tolist()]
    assert stress.tolist() == expected


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        ("energy", np.arange(2.0), r"expected the shape \[\] for 9 atoms, but got \[2\]"),
        ("forces", np.zeros((8, 3)), r"expected the shape \[9, 3\] for 9 atoms, but got \[8, 3\]"),
        ("stress", np.arange(5.0), r"expected the shape \[3, 3\] for 9 atoms, but got \[5\]"),
        ("energy", np.nan, "expected finite numbers"),
    ],
)
def test_wrong_labels_are_refused(label: str, value: Any, message: str) -> None:
    atoms = labelled()
    atoms.info["given"] = value
    with pytest.raises(ValueError, match=f"C2OH6, label 'given': {message}"):
        atoms_graph(atoms, 4.0, {label: "given"})


# --- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["frames.xyz", "frames.extxyz", "frames.traj", "frames.db"])
def test_files_of_ase_are_read(tmp_path: Path, name: str) -> None:
    frames = [copper(), labelled("CH4")]
    for atoms in frames:
        atoms.calc.results.pop("stress", None)
    if name.endswith(".db"):
        with ase.db.connect(tmp_path / name) as database:
            for k, atoms in enumerate(frames):
                database.write(atoms, key_value_pairs={"gap": 0.5 + k}, data={"alpha": np.eye(3)})
    else:
        ase.io.write(tmp_path / name, frames)
    found = read_frames(tmp_path / name)
    labels = {"energy": "energy", "forces": "forces"} | (
        {"gap": "gap", "alpha": "alpha"} if name.endswith(".db") else {}
    )
    for k, (atoms, expected) in enumerate(zip(found, frames, strict=True)):
        graph, wanted = atoms_graph(atoms, 4.0, labels, "float64"), atoms_graph(expected, 4.0, dtype="float64")
        assert torch.allclose(graph.pos, wanted.pos, atol=1e-7)
        assert torch.equal(graph.z, wanted.z)
        assert torch.equal(graph.pbc, wanted.pbc)
        assert graph.energy.item() == pytest.approx(expected.get_potential_energy(), rel=1e-12)
        assert np.allclose(graph.forces, expected.get_forces(), atol=1e-7)
        if "gap" in labels:
            assert graph.gap.tolist() == [0.5 + k]
            assert torch.equal(graph.alpha[0], torch.eye(3).double())


def test_files_that_are_missing_or_empty_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.xyz: no such file; expected frames of atoms"):
        read_frames(tmp_path / "no.xyz")
    with ase.db.connect(tmp_path / "empty.db") as database:
        database.delete([database.write(labelled())])
    with pytest.raises(ValueError, match=r"empty\.db: expected frames of atoms, but there are none"):
        read_frames(tmp_path / "empty.db")


def test_a_missing_label_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "frames.xyz", [labelled(), labelled("CH4")])
    data = AtomsDataModule(tmp_path / "frames.xyz", energy="REF_energy")
    with pytest.raises(
        ValueError,
        match=r"frame \d of train: .*: expected the label 'REF_energy', but there are \['energy', 'forces'\]",
    ):
        data.setup("fit")


# --- the data module -----------------------------------------------------------------------------------------


def module(**options: Any) -> AtomsDataModule:
    names = ("CH4", "H2O", "CH3OH", "CH3CH2OH")
    frames = [labelled(names[i % 4], i) for i in range(12)]
    return AtomsDataModule(frames, **{"cutoff": 4.0, "dtype": "float64", "batch_size": 5} | options)


def test_a_larger_training_part_has_all_frames_of_a_smaller_one() -> None:
    energies = {
        size: {
            part: [graph.energy.item() for graph in graphs]
            for part, graphs in module(val_size=3, train_size=size).parts.items()
        }
        for size in (2, 5, None)
    }
    assert energies[5]["train"][:2] == energies[2]["train"]
    assert energies[None]["train"][:5] == energies[5]["train"]
    assert energies[2]["val"] == energies[None]["val"]
    assert len(energies[None]["train"]) == 9
    assert not set(energies[None]["train"]) & set(energies[None]["val"])
    other = module(val_size=3, seed=1).parts
    assert [graph.energy.item() for graph in other["val"]] != energies[2]["val"]


def test_a_batch_keeps_the_order_of_edges_that_a_neighbour_list_has() -> None:
    batch = next(iter(module().train_dataloader()))
    half = batch.num_edges // 2
    assert torch.equal(batch.edge_index[:, :half], batch.edge_index[:, half:].flip(0))
    assert torch.equal(batch.shift[:half], -batch.shift[half:])
    assert torch.equal(batch.batch[batch.edge_index[0]], batch.batch[batch.edge_index[1]])
    with pytest.raises(RuntimeError, match="Cannot reconstruct"):
        batch.to_data_list()


def test_batches_are_loops_over_their_structures() -> None:
    data = module()
    potential = Potential(PairNetwork()).double()
    rows = torch.randperm(12, generator=data.train_dataloader().generator(0))
    batch = next(iter(data.train_dataloader()))
    out = potential(batch)
    for k, row in enumerate(rows[:5]):
        alone = potential(data.parts["train"][row])
        assert out["energy"][k].item() == pytest.approx(alone["energy"].item(), rel=1e-12)
        assert torch.allclose(out["forces"][batch.batch == k], alone["forces"], rtol=0, atol=1e-12)


def test_every_structure_comes_once() -> None:
    """Also where 12 structures are shared by two processes in batches of 4."""
    data = module(batch_size=4)
    expected = sorted(graph.energy.item() for graph in data.parts["train"])
    assert sorted(e for batch in data.train_dataloader() for e in batch.energy.tolist()) == expected
    for kind in (ShuffledAtoms, OrderedAtoms):
        shares = [kind(data.parts["train"], 4, rank=rank, world_size=2) for rank in range(2)]
        found = [[batch.energy.tolist() for batch in share] for share in shares]
        assert [len(batch) for batch in found[0]] == [2] * 3
        assert sorted(e for share in found for batch in share for e in batch) == expected


def test_without_forces_the_scale_is_that_of_the_energies() -> None:
    references, scale = module(forces=None).normalization
    graphs = module().parts["train"]
    left = [float(g.energy - sum(references[z] for z in g.z.tolist())) / len(g.z) for g in graphs]
    assert scale == pytest.approx(np.sqrt(np.square(left).mean()), rel=1e-9)
    with pytest.raises(ValueError, match="expected energies to normalize by"):
        _ = module(energy=None).normalization


@pytest.mark.parametrize("options", [{"val_size": 12}, {"val_size": -1}, {"train_size": 13}, {"train_size": 0}])
def test_more_frames_than_there_are_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="but there are 12"):
        module(**options).setup("fit")


def test_two_ways_to_validate_are_refused() -> None:
    with pytest.raises(ValueError, match="expected val or val_size, but got both"):
        module(val=[labelled()], val_size=2)


# --- the published files -------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.is_dir(), reason="needs a folder of .xyz files: set ISOMETRY_MOLECULES")
@pytest.mark.parametrize(
    ("file", "frames", "atoms", "rms"),
    [
        ("acac_train_300K.xyz", 500, 15, 1.05),
        ("acac_test_MD_300K.xyz", 650, 15, 1.04),
        ("ethanol_train.xyz", 1000, 9, None),
        ("3BPA_train_300K.xyz", 500, 27, None),
    ],
)
def test_published_frames(file: str, frames: int, atoms: int, rms: float | None) -> None:
    data = AtomsDataModule(REAL / file, train_size=20)
    assert len(read_frames(REAL / file)) == frames
    assert {len(graph.z) for graph in data.parts["train"]} == {atoms}
    forces = torch.cat([graph.forces for graph in data.parts["train"]])
    assert forces.sum(0).abs().max() < 0.2  # no force on the whole
    if rms is not None:
        assert data.normalization.scale == pytest.approx(rms, rel=0.05)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs a folder of .xyz files: set ISOMETRY_MOLECULES")
def test_published_polarizabilities() -> None:
    data = AtomsDataModule(REAL / "qm7x_reduced_100.xyz", energy=None, forces=None, properties=["polarizability"])
    tensors = torch.cat([graph.polarizability for graph in data.parts["train"]])
    assert tensors.shape == (100, 3, 3)
    assert torch.allclose(tensors, tensors.mT)
    assert torch.linalg.eigvalsh(tensors).min() > 10
