"""
Learn the forces in a molecule, and let it move
===============================================

Acetylacetone at 300 K: 500 frames with energies and forces of density functional theory. A network learns the energy,
whose gradient are the forces; it is tested on 650 frames of another trajectory, and then drives molecular dynamics of
its own, in which the total energy must not drift. ``--frames`` takes fewer for training.

The data do not come with the library: name their folder. An interrupted training goes on. ``--smoke`` makes up some.
"""

import argparse
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint

from isometry.models import ESCN, GauntNet, Potential, TensorNet
from isometry.trainers import ForceField
from isometry.trainers.callbacks import NaNGuard, RiemannianEMA, RNGState
from isometry.trainers.data import AtomsDataModule, read_frames
from isometry.trainers.optim import RiemannianAdam
from isometry.trainers.potentials import Drift, PotentialCalculator, nve_drift

WHERE = """--data: name a folder with acac_train_300K.xyz and acac_test_MD_300K.xyz, train_300K.xyz and test_MD_300K.xyz
of dataset_acac at github.com/davkovacs/BOTNet-datasets (MIT licence)."""
CUTOFF = 5.0
SHOWN = ["val/forces_mae", "val/energy_mae"]
History = list[list[float]]  # SHOWN after each epoch
NETWORKS: dict[str, Callable[[], Any]] = {
    "tensornet": lambda: TensorNet([1, 6, 8], CUTOFF, channels=32, layers=2),
    "escn": lambda: ESCN([1, 6, 8], CUTOFF, lmax=2, mmax=2, channels=16, layers=2, group="O(3)"),
    "gaunt": lambda: GauntNet([1, 6, 8], CUTOFF, lmax=2, channels=16, layers=2),
}


def made_up(count: int, seed: int) -> list[Any]:
    """Return shaken molecules with the energies and forces of a simple model."""
    frames = []
    for i in range(count):
        atoms = molecule(("CH3CH2OH", "CH3COCH3")[i % 2])
        atoms.rattle(0.05, seed=seed + i)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    return frames


def train(
    network: str, data: AtomsDataModule, epochs: int, folder: Path
) -> tuple[Potential, History, Mapping[str, float]]:
    """Train, or go on with it; return the averaged potential, its history, and the test's errors."""
    pl.seed_everything(0, verbose=False)
    task = ForceField(
        Potential(NETWORKS[network]()),
        functools.partial(RiemannianAdam, lr=5e-3),
        functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs, eta_min=1e-5),
        energy_weight=10.0,
        forces_weight=1.0,
    )
    history: History = []
    note = LambdaCallback(on_validation_end=lambda t, _: history.append([float(t.callback_metrics[k]) for k in SHOWN]))
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[note, ModelCheckpoint(folder, save_last=True), RiemannianEMA(0.99), NaNGuard(), RNGState()],
        gradient_clip_val=10.0,
        num_sanity_val_steps=0,
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(task, data, ckpt_path="last", weights_only=True)  # from the beginning if there is none
    return task.potential, history, trainer.test(task, data, verbose=False)[0]


def draw(potential: Potential, data: AtomsDataModule, history: History, drift: Drift) -> Figure:
    """Draw the learning curve, predicted against true energies and forces, and the drift."""
    with torch.no_grad():
        out = [(graph, potential(graph)) for graph in data.parts["test"]]
    figure = Figure(figsize=(12, 9), layout="constrained")
    (curve, energies), (forces, energy) = figure.subplots(2, 2)
    curve.semilogy(1000 * np.array(history), label=SHOWN)
    curve.set(title="Learning", xlabel="Epoch", ylabel="Mean error of validation (meV/Å, meV per atom)")
    curve.legend()
    for name, axes, title in (("energy", energies, "Energy of an atom (eV)"), ("forces", forces, "Forces (eV/Å)")):
        count = [len(graph.z) if name == "energy" else 1 for graph, _ in out]
        true, found = (
            np.concatenate([np.ravel(each[k][name]) / n for each, n in zip(out, count, strict=True)]) for k in (0, 1)
        )
        axes.plot(true, true, "0.7")
        axes.plot(true, found, ".", markersize=2)
        axes.set(title=title, xlabel="Density functional theory", ylabel="Network")
    energy.plot(drift.time, 1000 * drift.energy)
    energy.set(title="Total energy in molecular dynamics", xlabel="Time (ps)", ylabel="Change (meV per atom)")
    return figure


def main(
    data: Path | None = None,
    network: str = "tensornet",
    frames: int = 450,
    epochs: int = 300,
    steps: int = 10_000,
    smoke: bool = False,
) -> None:
    """Run the example; ``smoke`` takes made-up data for two epochs, to show that it runs."""
    torch.set_num_threads(1)  # small molecules
    if smoke:
        epochs, steps = 2, 20
        module = AtomsDataModule(made_up(8, 0), test=made_up(2, 99), cutoff=CUTOFF, val_size=2, batch_size=3)
    elif data is None:
        raise SystemExit(WHERE)
    else:
        first, test = read_frames(data / "acac_train_300K.xyz"), data / "acac_test_MD_300K.xyz"
        chosen = [first[i] for i in sorted(np.random.default_rng(0).permutation(len(first))[: frames + 50])]
        module = AtomsDataModule(chosen, test=test, cutoff=CUTOFF, val_size=50, batch_size=5)
    name = f"acac_{network}_{len(module.parts['train'])}"
    potential, history, errors = train(network, module, epochs, Path("runs", name))
    floor = torch.cat([graph.forces for graph in module.parts["test"]]).double().square().mean().sqrt()
    print(f"{name:24}{'MAE':>10}{'RMSE':>10}")
    for quantity, unit in (("energy", "meV per atom"), ("forces", "meV/Å")):
        mae, rmse = (1000 * errors[f"test/{quantity}_{key}"] for key in ("mae", "rmse"))
        print(f"{f'{quantity} ({unit})':24}{mae:10.3f}{rmse:10.3f}")
    print(f"{'no forces at all':24}{'':10}{1000 * floor:10.1f}")
    start = read_frames(module.files["test"] or [])[0]
    drift = nve_drift(PotentialCalculator(potential), start, 300.0, 0.5, steps, every=10)
    print(f"drift {1000 * drift.slope:+.4f} meV per atom and ps, fluctuation {1000 * drift.fluctuation:.4f} meV")
    draw(potential, module, history, drift).savefig(f"{name}.png")
    if not smoke and frames >= 450 and not errors["test/forces_rmse"] < 0.05 * floor:
        raise SystemExit("expected forces within 5 % of their size")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the .xyz files")
    parser.add_argument("--network", choices=NETWORKS, default="tensornet")
    parser.add_argument("--frames", type=int, default=450, help="for training, at most 450")
    parser.add_argument("--epochs", type=int, default=300, help="of the training")
    parser.add_argument("--steps", type=int, default=10_000, help="of the dynamics, 0.5 fs each")
    parser.add_argument("--smoke", action="store_true", help="two epochs on made-up data")
    main(**vars(parser.parse_args()))
