"""ForceField: training, exact resume, two processes, and what it refuses."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from isometry.models import Potential
from isometry.trainers import ForceField
from isometry.trainers.callbacks import ManifoldMonitor, NaNGuard, RiemannianEMA, RNGState
from isometry.trainers.data import AtomsDataModule
from isometry.trainers.optim import RiemannianAdam
from tests.models.atomistic import PairNetwork
from tests.trainers.callbacks.toy import in_two_processes, trainer


def frames(count: int = 22, seed: int = 0, periodic: bool = False) -> list[Any]:
    """Shaken molecules of several sizes with the energies and forces of ase's EMT."""
    generator, found = np.random.default_rng(seed), []
    for i in range(count):
        atoms = molecule(("H2O", "CH3OH", "CH4")[i % 3])
        atoms.rattle(0.08, rng=generator)
        if periodic:
            atoms.set_cell(5 * np.eye(3) + 0.2 * generator.normal(size=(3, 3)))
            atoms.pbc = True
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if periodic:
            results["stress"] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found


def data(dtype: Any = "float32", **options: Any) -> AtomsDataModule:
    """14 structures to train, 4 to validate and 9 to test on."""
    given = {"cutoff": 4.0, "val_size": 4, "batch_size": 4, "dtype": dtype}
    return AtomsDataModule(frames(18), test=frames(9, seed=1), **given | options)


def module(seed: int = 0, dtype: torch.dtype = torch.float32, **options: Any) -> ForceField:
    torch.manual_seed(seed)
    potential = Potential(PairNetwork(), stress=options.pop("stress", False)).to(dtype)
    schedule = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.98)
    return ForceField(potential, **{"optimizer": partial(RiemannianAdam, lr=0.02), "scheduler": schedule} | options)


# --- training ------------------------------------------------------------------------------------------------


def test_it_learns(tmp_path: Path) -> None:
    """From the mean energies of the species alone and no forces, which are what a potential starts with."""
    task, parts = module(), data()
    run = trainer(tmp_path, max_epochs=60)
    run.fit(task, parts)
    (tested,) = run.test(task, parts, verbose=False)
    references, scale = parts.normalization
    graphs = parts.parts["test"]
    constant = [float(graph.energy - sum(references[z] for z in graph.z.tolist())) / len(graph.z) for graph in graphs]
    assert tested["test/forces_rmse"] < 0.25 * scale
    assert tested["test/energy_rmse"] < 0.8 * np.sqrt(np.square(constant).mean())
    assert tested.keys() == {"test/loss", *(f"test/{q}_{m}" for q in ("energy", "forces") for m in ("mae", "rmse"))}


def test_fast_dev_run(tmp_path: Path) -> None:
    trainer(tmp_path, fast_dev_run=True).fit(module(), data())


def test_stress_is_trained_on(tmp_path: Path) -> None:
    parts = AtomsDataModule(frames(12, periodic=True), cutoff=4.0, stress="stress", val_size=3, batch_size=3)
    task = module(stress=True, energy_weight=0.0, forces_weight=0.0, stress_weight=1e4)
    trainer(tmp_path, max_epochs=30).fit(task, parts)
    (logged,) = trainer(tmp_path).validate(task, parts, verbose=False)
    size = torch.cat([graph.stress for graph in parts.parts["val"]]).square().mean().sqrt().item()
    assert logged["val/stress_rmse"] < 0.5 * size


def test_the_loss_is_the_mean_over_structures() -> None:
    """Against the formula, structure by structure."""
    task = module(dtype=torch.float64, energy_weight=3.0, forces_weight=5.0)
    graphs = data("float64").parts["train"][:4]
    expected = 0.0
    for graph in graphs:
        out = task.potential(graph)
        atoms = len(graph.z)
        energy = ((out["energy"] - graph.energy) / atoms).square().sum()
        expected += (3 * energy + 5 * (out["forces"] - graph.forces).square().sum() / (3 * atoms)).item()
    loss = task.training_step(Batch.from_data_list(graphs), 0)
    assert loss.item() == pytest.approx(expected / 4, rel=1e-12)


def test_metrics_are_those_of_numpy_in_the_mode_that_lightning_validates_in(tmp_path: Path) -> None:
    """4 structures are batches of 3 and 1; Lightning's inference mode allows no autograd.grad."""
    task, parts = module(), data(batch_size=3)
    run = trainer(tmp_path)
    (logged,) = run.validate(task, parts, verbose=False)
    outs = [(graph, task.potential(graph)) for graph in parts.parts["val"]]
    energy = np.array([float((out["energy"] - graph.energy) / len(graph.z)) for graph, out in outs])
    forces = torch.cat([out["forces"] - graph.forces for graph, out in outs]).detach().numpy()
    for name, error in (("energy", energy), ("forces", forces)):
        assert logged[f"val/{name}_mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
        assert logged[f"val/{name}_rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)


def test_the_potential_takes_the_scale_of_the_data(tmp_path: Path) -> None:
    task, parts = module(optimizer=partial(RiemannianAdam, lr=0.0)), data()
    trainer(tmp_path, max_epochs=1).fit(task, parts)
    graphs = parts.parts["train"]
    forces = torch.cat([graph.forces for graph in graphs])
    assert task.potential.scale.item() == pytest.approx(forces.square().mean().sqrt().item(), rel=1e-6)
    counts = np.array([[(graph.z == z).sum() for z in (1, 6, 8)] for graph in graphs])
    solution = np.linalg.lstsq(counts, np.array([graph.energy.item() for graph in graphs]), rcond=None)[0]
    assert list(task.potential.reference_energies.values()) == pytest.approx(solution.tolist(), rel=1e-9)

    kept = module(normalize=False)
    trainer(tmp_path, max_epochs=1).fit(kept, parts)
    assert kept.potential.scale == 1
    assert set(kept.potential.reference_energies.values()) == {0.0}


def test_averaged_weights_are_validated_and_saved(tmp_path: Path) -> None:
    """At decay 1 the average stays at the first update's weights, but has the data's normalization."""
    task, parts = module(), data()
    run = trainer(tmp_path, RiemannianEMA(decay=1.0), ModelCheckpoint(tmp_path, save_last=True), max_epochs=3)
    run.fit(task, parts)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert saved["potential.scale"] == task.potential.scale != 1
    fresh = module()
    fresh.load_state_dict(saved)
    (tested,) = trainer(tmp_path).validate(fresh, parts, verbose=False)
    assert tested["val/forces_mae"] == pytest.approx(run.callback_metrics["val/forces_mae"].item(), rel=1e-5)


def test_forces_alone_train_every_parameter(tmp_path: Path) -> None:
    """The energy's constant has no gradient then, which DDP would wait for."""
    task = module(energy_weight=0.0)
    task.training_step(Batch.from_data_list(data().parts["train"][:3]), 0).backward()
    assert all(p.grad is not None for p in task.parameters())


def test_it_takes_any_loader_of_graphs(tmp_path: Path) -> None:
    loader = DataLoader(data().parts["train"], batch_size=4)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(module(normalize=False), loader)
    assert run.callback_metrics.keys() == {"train/loss"}


# --- resume --------------------------------------------------------------------------------------------------


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    """Bit for bit, from the middle and from the end of an epoch of 4 batches."""
    save = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    whole = module()
    run = trainer(tmp_path, RNGState(), save)
    run.fit(whole, data())
    for step in (2, 4, 7):
        resumed = module(seed=1)
        again = trainer(tmp_path, RNGState())
        again.fit(resumed, data(), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=True)
        for (name, p), q in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
            assert torch.equal(p, q), f"{name} from step {step}"
        assert again.callback_metrics == run.callback_metrics


# --- two processes -------------------------------------------------------------------------------------------


def fit(seed: int, folder: str, **options: Any) -> tuple[dict[str, Any], list[float], dict[str, float]]:
    """Return the parameters, the loss of each batch and what was logged at the end of training."""
    task, losses = module(seed, torch.float64, energy_weight=0.5), []
    record = LambdaCallback(on_train_batch_end=lambda *arguments: losses.append(arguments[2]["loss"].item()))
    run = trainer(folder, record, NaNGuard(), ManifoldMonitor(), **options)
    run.fit(task, data("float64"))
    parameters = {name: p.detach().tolist() for name, p in task.named_parameters()}
    return parameters, losses, {name: value.item() for name, value in run.callback_metrics.items()}


def worker(rank: int, folder: str) -> Any:
    return fit(rank, folder, devices=2, strategy="ddp")


def test_two_processes_are_one(tmp_path: Path) -> None:
    """In float64, so that what differs is the order of sums; molecules have 3 to 6 atoms, unlike in the processes."""
    first, second = in_two_processes(worker, str(tmp_path))
    assert isinstance(first, tuple), first
    assert first[0] == second[0]  # the replicas, to the last bit
    assert first[2] == second[2]

    parameters, losses, logged = fit(0, str(tmp_path))
    assert [(a + b) / 2 for a, b in zip(first[1], second[1], strict=True)] == pytest.approx(losses, rel=1e-9)
    assert first[1] != second[1]  # each process has its own share
    for name, p in parameters.items():
        assert torch.allclose(torch.tensor(first[0][name]), torch.tensor(p), rtol=1e-8, atol=1e-10), name
    assert first[2] == pytest.approx(logged, rel=1e-6)  # logged in float32


# --- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy_weight": -1.0}, "expected weights of 0 or more"),
        ({"energy_weight": 0.0, "forces_weight": 0.0}, "one of them positive"),
        (
            {"stress_weight": 1.0},
            r"\['stress'\] have a weight, but the potential has forces='conservative' and stress=False",
        ),
    ],
)
def test_wrong_weights_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(**options)


def test_forces_that_the_potential_does_not_give_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['forces'\] have a weight, but the potential has forces=None"):
        ForceField(Potential(PairNetwork(), forces=None), partial(RiemannianAdam, lr=0.1))


def test_another_cutoff_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the network's cutoff is 4\.0, but that of the data 5\.0"):
        trainer(tmp_path).fit(module(), data(cutoff=5.0))


def test_missing_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['forces'\] have a weight, but the batch has only"):
        trainer(tmp_path).fit(module(), data(forces=None))
    trainer(tmp_path, fast_dev_run=True).fit(module(forces_weight=0.0), data(forces=None))


def test_data_without_normalization_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a data module with a `normalization`"):
        trainer(tmp_path).fit(module(), DataLoader(data().parts["train"], batch_size=4))


def test_the_potential_is_copied_as_it_is() -> None:
    task = module()
    twin = copy.deepcopy(task)
    batch: Tensor = Batch.from_data_list(data().parts["train"][:3])
    assert torch.equal(task.training_step(batch, 0), twin.training_step(batch, 0))
