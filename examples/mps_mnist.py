"""
Digits by a matrix product state
================================

MNIST's 10,000 test images (7,000 to train, 1,000 to validate, 2,000 to test), their pixels averaged to 14 x 14, are
classified by a function that is linear in the product of ``[1 - x, x]`` over all 196 pixels, a matrix product state,
beside a logistic regression of the pixels. The state is trained by Adam on cross entropy, or by one sweep of exact
two-site least squares. Printed are means and deviations over seeds.
"""

import argparse
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from isometry.models import MPSClassifier, two_site_sweep
from isometry.trainers import Classification
from isometry.trainers.data import Digits, MNIST10k
from isometry.trainers.data.tensor_data import TensorDataModule
from isometry.trainers.optim import RiemannianAdam


def by_gradients(model: nn.Module, data: TensorDataModule, lr: float, epochs: int) -> float:
    """Return the accuracy on the test part."""
    task = Classification(
        model, 10, partial(RiemannianAdam, lr=lr), lambda optimizer: CosineAnnealingLR(optimizer, epochs)
    )
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(task, data)
    (tested,) = trainer.test(task, data, verbose=False)
    return tested["test/accuracy"]


def by_sweeps(state: MPSClassifier, shrink: nn.Module, data: TensorDataModule) -> float:
    """Return the accuracy on the test part."""
    (x, labels), (x_test, labels_test) = data.parts["train"], data.parts["test"]
    two_site_sweep(state, shrink(x), labels)
    with torch.no_grad():
        return (state(shrink(x_test)).argmax(1) == labels_test).float().mean().item()


def report(name: str, run: Callable[[int], float], seeds: int) -> float:
    """Print and return the mean accuracy."""
    start, scores = time.process_time(), []
    for seed in range(seeds):
        pl.seed_everything(seed, verbose=False)
        scores.append(run(seed))
    values = torch.tensor(scores)
    print(
        f"{name:44} {values.mean():.4f} +- {values.std(unbiased=False):.4f}   "
        f"{(time.process_time() - start) / seeds:5.0f} s",
        flush=True,
    )
    return values.mean().item()


def main(data: Path | None = None, epochs: int = 10, seeds: int = 3, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes small digits and an epoch."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    if smoke:
        epochs, seeds = 1, 1
    elif data is None:
        raise SystemExit("--data: name a folder of t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz")
    side = 4 if smoke else 14

    def digits(seed: int) -> TensorDataModule:
        return Digits(50, seed) if data is None else MNIST10k(data, 50, seed)

    def logistic() -> nn.Module:
        return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(side**2, 10))

    def state(bond: int) -> nn.Module:
        return nn.Sequential(nn.AvgPool2d(2), MPSClassifier(side**2, 10, bond))

    print(f"{'accuracy on the test part, mean of the seeds':44} {'':20}CPU time each")
    report("logistic regression", lambda seed: by_gradients(logistic(), digits(seed), 1e-2, epochs), seeds)
    for bond in (5, 10):
        name = f"matrix product state, bond {bond}, Adam"
        report(name, lambda seed, bond=bond: by_gradients(state(bond), digits(seed), 1e-3, epochs), seeds)  # type: ignore[misc]

    def swept(seed: int) -> float:
        shrink = nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
        return by_sweeps(MPSClassifier(side**2, 10, 8), shrink, digits(seed))

    report("matrix product state, bond 8, one sweep", swept, seeds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of MNIST's two test files")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="small digits, an epoch, a seed")
    main(**vars(parser.parse_args()))
