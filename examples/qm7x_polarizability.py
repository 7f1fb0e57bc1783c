"""
Predict polarizabilities that are positive definite
===================================================

How a molecule's electrons yield to a field is a symmetric matrix that turns with the molecule, and it is positive
definite: the energy falls whatever the field's direction. An equivariant network predicts it as a plain matrix, or
through the exponential, whose values are positive definite whatever the weights are; the latter is also trained by the
distance of the manifold of positive definite matrices. 100 molecules of QM7-X, trained on a few of them.

The data do not come with the library: name the file. ``--smoke`` makes up some.
"""

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from ase.build import molecule
from matplotlib.figure import Figure
from torch import Tensor

from isometry.manifolds import SPDAffineInvariant
from isometry.models import TensorNet, TensorProperty
from isometry.trainers import PropertyRegression
from isometry.trainers.callbacks import NaNGuard
from isometry.trainers.data import AtomsDataModule
from isometry.trainers.optim import RiemannianAdam

WHERE = """--data: name qm7x_reduced_100.xyz, extended XYZ with the polarizability of each molecule, nine numbers: it is
among tests/resources of github.com/metatensor/metatrain (BSD-3 licence)."""
CUTOFF = 5.0
MANIFOLD = SPDAffineInvariant(3)
HEADS = {"flat": (False, False), "exponential": (True, False), "exponential, manifold's distance": (True, True)}


def errors(prediction: Tensor, label: Tensor) -> tuple[float, float, int]:
    """Return the relative error, the distance on the manifold (of those that lie on it), and how many do not."""
    relative = (torch.linalg.matrix_norm(prediction - label) / torch.linalg.matrix_norm(label)).mean()
    inside = torch.linalg.eigvalsh(prediction).amin(1) > 0
    distance = MANIFOLD.dist(prediction[inside], label[inside]).mean()
    return relative.item(), distance.item(), int((~inside).sum())


def train(head: str, data: AtomsDataModule, epochs: int, seed: int) -> tuple[float, float, int]:
    """Train once; return the errors of the molecules that are held out."""
    pl.seed_everything(seed, verbose=False)
    positive, on_manifold = HEADS[head]
    graphs = data.parts["train"]
    scale = float(np.mean([graph.polarizability.diagonal(0, 1, 2).mean() / len(graph.z) for graph in graphs]))
    species = sorted({z for part in data.parts.values() for graph in part for z in graph.z.tolist()})
    model = TensorProperty(TensorNet(species, CUTOFF, channels=16, layers=2), scale=scale, positive=positive)

    def loss(prediction: Tensor, label: Tensor) -> Tensor:
        if on_manifold:
            return MANIFOLD.dist2(prediction, label).mean()
        return ((prediction - label) / (10 * scale)).square().mean()

    task = PropertyRegression(
        model,
        "polarizability",
        functools.partial(RiemannianAdam, lr=3e-3),
        functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs),
        loss,
    )
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[NaNGuard()],
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        limit_val_batches=0,
    )
    trainer.fit(task, data)
    with torch.no_grad():
        held_out = data.parts["val"]
        prediction = torch.cat([model.eval()(graph) for graph in held_out])
    return errors(prediction.double(), torch.cat([graph.polarizability for graph in held_out]).double())


def made_up(count: int) -> list[Any]:
    """Return molecules with a tensor that is a sum over pairs of atoms."""
    frames = []
    for i in range(count):
        atoms = molecule(("CH3CH2OH", "CH3COCH3", "CH3SH")[i % 3])
        atoms.rattle(0.1, seed=i)
        atoms.info["polarizability"] = 5 * len(atoms) * np.eye(3) + atoms.positions.T @ atoms.positions
        frames.append(atoms)
    return frames


def compare(frames: Any, sizes: Sequence[int], epochs: int, seeds: int, val_size: int) -> dict[str, list[float]]:
    """Train each head on each number of molecules; print a table and return the relative errors."""
    results: dict[str, list[float]] = {head: [] for head in HEADS}
    print(f"{'head':34}{'molecules':>10}{'error':>9}{'distance':>10}{'not definite':>14}")
    for size in sizes:
        for head, found in results.items():
            runs = []
            for seed in range(seeds):
                data = AtomsDataModule(
                    frames,
                    cutoff=CUTOFF,
                    energy=None,
                    forces=None,
                    properties=["polarizability"],
                    val_size=val_size,
                    train_size=size,
                    batch_size=5,
                    seed=seed,
                )
                runs.append(train(head, data, epochs, seed))
            relative, distance, outside = np.array(runs).T
            found.append(relative.mean())
            print(f"{head:34}{size:10}{relative.mean():9.4f}{distance.mean():10.4f}{outside.sum():14.0f}", flush=True)
    return results


def main(data: Path | None = None, epochs: int = 150, seeds: int = 3, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes made-up data for two epochs, to show that it runs."""
    torch.set_num_threads(1)  # small molecules
    if smoke:
        compare(made_up(9), [3], epochs=2, seeds=1, val_size=3)
        return
    if data is None:
        raise SystemExit(WHERE)
    results = compare(data, sizes := [5, 20, 80], epochs, seeds, val_size=20)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for head, found in results.items():
        axes.loglog(sizes, found, "o-", label=head)
    axes.set(xlabel="Molecules trained on", ylabel="Relative error", title="Polarizability of unseen molecules")
    axes.legend()
    figure.savefig("qm7x_polarizability.png")
    if not min(found[-1] for found in results.values()) < 0.05:
        raise SystemExit("expected an error below 5 %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the .xyz file")
    parser.add_argument("--epochs", type=int, default=150, help="of each training")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each head and number of molecules")
    parser.add_argument("--smoke", action="store_true", help="two epochs on made-up data")
    main(**vars(parser.parse_args()))
