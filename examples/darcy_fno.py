"""
Solve differential equations with factored Fourier operators
============================================================

A Fourier neural operator learns the map from a medium to the pressure of the flow through it (Darcy), and from a wave
to its shape some time later (Burgers). Nearly all of its parameters are the matrices of its frequencies, one tensor per
layer: here they are dense, or in Tucker or CP form with the same number of parameters, a tenth and a fortieth of it.
The floors predict the mean of the training targets, and do ridge regression on the input's values.

The data do not come with the library: name the folder. ``--smoke`` makes up some.
"""

import argparse
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from isometry.models import FNO
from isometry.trainers import OperatorLearning
from isometry.trainers.callbacks import NaNGuard
from isometry.trainers.data import Burgers, Darcy
from isometry.trainers.data.function_data import FunctionDataModule
from isometry.trainers.losses import relative_errors
from isometry.trainers.optim import RiemannianAdam

WHERE = """--data: name the folder of darcy_train_16.pt, darcy_test_16.pt and burgers_train_16.pt, which are in
neuralop/data/datasets/data of github.com/neuraloperator/neuraloperator (MIT licence)."""
PROBLEMS: dict[str, tuple[Any, tuple[int, ...], int]] = {
    "Darcy": (Darcy, (8, 8), 16),
    "Burgers": (Burgers, (16,), 32),
}
LAYERS = 4


def floors(data: FunctionDataModule) -> Iterator[tuple[str, float]]:
    """Yield the relative errors of the mean target, and of ridge regression (the best of some penalties, on test)."""
    (x, y), (x_test, y_test) = (data.parts[part] for part in ("train", "test"))
    yield "mean of the targets", relative_errors(y.mean(0).expand_as(y_test), y_test).mean().item()

    def features(x: Tensor) -> Tensor:
        flat = x.flatten(1).double()
        return torch.cat([flat, torch.ones(len(flat), 1).double()], 1)

    A, b = features(x), y.flatten(1).double()
    errors = []
    for penalty in (1e-3, 1e-1, 1e1, 1e3):
        ridge = torch.linalg.solve(A.mT @ A + penalty * torch.eye(A.shape[1]), A.mT @ b)
        prediction = (features(x_test) @ ridge).view(y_test.shape).to(y_test.dtype)
        errors.append(relative_errors(prediction, y_test).mean().item())
    yield "ridge regression", min(errors)


def train(model: FNO, data: FunctionDataModule, epochs: int) -> tuple[float, float]:
    """Train once; return the relative L2 and H1 errors on the test samples."""
    task = OperatorLearning(
        model,
        functools.partial(RiemannianAdam, lr=1e-2),
        functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs),
    )
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[NaNGuard()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        limit_val_batches=0,
    )
    trainer.fit(task, data)
    (logged,) = trainer.test(task, data, verbose=False)
    return logged["test/l2"], logged["test/h1"]


def compare(folder: Path, problem: str, epochs: int, seeds: int) -> dict[str, float]:
    """Train all forms on one problem; print a table and return the mean relative L2 errors."""
    kind, modes, width = PROBLEMS[problem]
    results = {}
    print(f"\n{problem}\n{'spectral weights':24}{'parameters':>11}{'L2':>17}{'H1':>17}{'s':>7}")
    for name, error in floors(kind(folder)):
        print(f"{name:24}{'':11}{error:9.4f}", flush=True)
    dense = 0
    for format in (None, "tucker", "cp"):
        for share in (1, 10, 40) if format else (1,):
            runs, start = [], time.process_time()
            for seed in range(seeds):
                pl.seed_everything(seed, verbose=False)
                budget = dense // LAYERS // share if format else None
                model = FNO(modes, 1, 1, width, LAYERS, format=format, budget=budget)
                count = sum(p.numel() for name, p in model.named_parameters() if ".conv.weight." in name)
                runs.append(train(model, kind(folder, seed=seed), epochs))
            dense = dense or count
            name = f"{format}, 1/{share}" if format else "dense"
            (l2, h1), (l2_spread, h1_spread) = np.mean(runs, 0), np.std(runs, 0)
            seconds = (time.process_time() - start) / seeds
            results[name] = float(l2)
            print(
                f"{name:24}{count:11}{l2:9.4f} +-{l2_spread:6.4f}{h1:9.4f} +-{h1_spread:6.4f}{seconds:7.1f}",
                flush=True,
            )
    return results


def make_up(folder: Path) -> None:
    """Write small files of the same form, whose targets are smoothed inputs."""
    for part, count in (("train", 12), ("test", 4)):
        x = torch.rand(count, 16, 16) > 0.5
        torch.save({"x": x, "y": (x + x.roll(1, 1) + x.roll(1, 2)).float() + 0.1}, folder / f"darcy_{part}_16.pt")
    x = torch.randn(16, 16)
    torch.save({"x": x, "y": x[:, None].expand(-1, 17, -1)}, folder / "burgers_train_16.pt")


def main(data: Path | None = None, epochs: int = 10, seeds: int = 3, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes made-up data for one epoch, to show that it runs."""
    torch.set_num_threads(1)  # small grids
    if smoke:
        make_up(Path())
        PROBLEMS["Burgers"] = (functools.partial(Burgers, test_size=4), (16,), 16)
        compare(Path(), "Burgers", 1, 1)
        compare(Path(), "Darcy", 1, 1)
        return
    if data is None:
        raise SystemExit(WHERE)
    for problem in PROBLEMS:
        results = compare(data, problem, epochs, seeds)
        if not results["tucker, 1/10"] < 1.5 * results["dense"]:
            raise SystemExit("expected the Tucker form at a tenth of the parameters within 1.5 times the dense error")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder")
    parser.add_argument("--epochs", type=int, default=10, help="of each training")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each form")
    parser.add_argument("--smoke", action="store_true", help="one epoch on made-up data")
    main(**vars(parser.parse_args()))
