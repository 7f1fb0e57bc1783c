"""
Tensors from a few of their entries
===================================

Planted tensors of size 30 x 30 x 30 and rank 3 are found exactly from a tenth of their entries, and mostly from a
twentieth, by conjugate gradients on the manifold of tensors of that rank. Two measured tensors follow with ``--data``:
fine dust in Beijing (by pressure, temperature and time; .3 % of the entries are known) and temperatures in the United
States (by place and time; 12 %). Rank and weight decay are chosen on a tenth of the training entries; what they reach
is printed beside the mean of the training entries.
"""

import argparse
import itertools
import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from isometry.manifolds.low_rank import FixedRankTT, FixedRankTucker
from isometry.models import TensorCompletion, observed_entries
from isometry.trainers import Completion
from isometry.trainers.data import BeijingPM25, TensorFolds, USTemperature

FORMATS: dict[str, Any] = {"Tucker": FixedRankTucker, "train": FixedRankTT}
SETTINGS: dict[type[TensorFolds], tuple[list[int], list[float]]] = {
    BeijingPM25: ([2, 3, 4], [0.01, 0.03]),
    USTemperature: ([4, 6, 8], [0.003, 0.01]),
}


def planted(smoke: bool) -> None:
    """Find tensors of rank 3; the ranks are given."""
    print(f"{'format':8}{'known':>8}{'found':>10}{'steps':>8}{'error of a found tensor':>28}")
    generator = torch.Generator().manual_seed(0)
    draws = 1 if smoke else 5
    for name, share in itertools.product(FORMATS, (0.3,) if smoke else (0.3, 0.1, 0.05)):
        manifold, runs = FORMATS[name]((30, 30, 30)), []
        for _ in range(draws):
            w = manifold.to_dense(manifold.random(3, scale=100.0, generator=generator, dtype=torch.float64))
            entries = observed_entries(w, torch.rand(w.shape, generator=generator) < share)
            model = TensorCompletion(manifold, 3)
            history = model.fit(*entries, steps=300)
            runs.append((float((model.to_dense() - w).detach().norm() / w.norm()), len(history)))
        found = [run for run in runs if run[0] < 1e-9]
        if len(found) < draws and share >= 0.1:
            raise SystemExit("expected the planted tensors")
        error, steps = (max(values) for values in zip(*found, strict=True))
        print(f"{name:8}{share:8.0%}{len(found):5} of {draws}{steps:8}{error:28.1e}", flush=True)


def completed(data: TensorFolds, name: str, rank: int, decay: float, steps: int) -> tuple[float, float]:
    """Return the errors at the entries to validate and to test."""
    model = TensorCompletion(FORMATS[name](data.shape), rank, weight_decay=decay, centered=True, dtype=torch.float32)
    trainer = pl.Trainer(
        max_epochs=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, check_val_every_n_epoch=steps, num_sanity_val_steps=0,
    )  # fmt: skip
    task = Completion(model)
    trainer.fit(task, data)
    found = float(trainer.callback_metrics["val/rmse"])
    (tested,) = trainer.test(task, data, verbose=False)
    return found, tested["test/rmse"]


def measured(folder: Path, folds: int, steps: int) -> None:
    """Print the errors at the entries to test, means and deviations over folds."""
    for source, (ranks, decays) in SETTINGS.items():
        first = source(folder, 0)
        for name in FORMATS:
            choices = {key: completed(first, name, *key, steps)[0] for key in itertools.product(ranks, decays)}
            rank, decay = min(choices, key=lambda key: choices[key])
            errors = torch.tensor([completed(source(folder, k), name, rank, decay, steps)[1] for k in range(folds)])
            parts = [source(folder, k).parts for k in range(folds)]
            floors = [(p["test"][1] - p["train"][1].mean()).square().mean().sqrt() for p in parts]
            print(
                f"{source.__name__:14} {name:7} rank {rank}, decay {decay}: RMSE {errors.mean():.3f} +- "
                f"{errors.std(unbiased=False):.3f}; mean of the training entries {torch.stack(floors).mean():.3f}",
                flush=True,
            )


def main(data: Path | None = None, folds: int = 5, steps: int = 40, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes the easiest tensor, to show that it runs."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    planted(smoke)
    if data is not None:
        measured(data, folds, steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of beijing_pm25_100x100x300.npz and us_temp_15x95x267.npz")
    parser.add_argument("--folds", type=int, default=5, help="how many of the five")
    parser.add_argument("--steps", type=int, default=40, help="of conjugate gradients on measured tensors")
    parser.add_argument("--smoke", action="store_true", help="the easiest tensor only")
    main(**vars(parser.parse_args()))
