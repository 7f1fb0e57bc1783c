"""
Read from a brain which light is looked at
==========================================

MAMEM SSVEP dataset II: a person looks at one of five lights that flicker at different rates, and 8 electrodes over the
visual cortex record for a second. Convolutions make features of the signals, their covariance goes through a network of
positive definite matrices, with and without batch norm, and through manifold attention. One network for each person,
trained on the first three sessions and tested on the fifth.

The data do not come with the library: name the folder of ``U001.npz``, ... ``--smoke`` makes up some.
"""

import argparse
import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from isometry.manifolds import SPDAffineInvariant, SPDBuresWasserstein
from isometry.models import MAtt, SPDConvNet
from isometry.trainers import Classification
from isometry.trainers.callbacks import ManifoldMonitor, NaNGuard
from isometry.trainers.data import MAMEM
from isometry.trainers.optim import RiemannianAdam

WHERE = """--data: name a folder with U001.npz, ..., numpy archives of x [500, 8, 125] and y [500]. The recordings are
published as U001.mat, ... at github.com/jjscc/GBWBN, GBWBN_SPDNet/experiments/data/MAMEM; see MAMEM's docstring."""
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "SPDConvNet": SPDConvNet,
    "SPDConvNet, affine-invariant norm": lambda: SPDConvNet(batch_norm=SPDAffineInvariant(12)),
    "SPDConvNet, Bures-Wasserstein norm": lambda: SPDConvNet(batch_norm=SPDBuresWasserstein(12)),
    "MAtt": MAtt,
}
FLOORS = {  # of persons 1 to 6: the most frequent class; logistic regressions of covariances of band-passed signals
    "floor: largest class": 0.24,
    "floor: covariances": 0.41,
    "floor: their logarithms": 0.43,
}


def accuracy(folder: Path, subject: int, network: Callable[[], nn.Module], seed: int, **budget: Any) -> float:
    """Train for one person; return the accuracy on the last session."""
    pl.seed_everything(seed, verbose=False)
    data = MAMEM(folder, subject, batch_size=30, seed=seed)
    optimizer = functools.partial(RiemannianAdam, lr=1e-3, weight_decay=0.05, decoupled_weight_decay=True)
    module = Classification(network(), data.num_classes, optimizer)
    trainer = pl.Trainer(
        **budget,
        accelerator="cpu",
        callbacks=[ManifoldMonitor(), NaNGuard()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, data)
    (result,) = trainer.test(module, data, verbose=False)
    return result["test/accuracy"]


def make_up(folder: Path) -> None:
    """Write flicker in noise in the format of the data."""
    generator, y = np.random.default_rng(0), np.arange(500) % 5
    flicker = np.sin(2 * np.pi * np.outer(np.array([6.66, 7.5, 8.57, 10.0, 12.0])[y], np.arange(125) / 125))
    np.savez(folder / "U001.npz", x=flicker[:, None] + generator.normal(size=(500, 8, 125)), y=y)


def compare(folder: Path, subjects: Sequence[int], seeds: Sequence[int], **budget: Any) -> dict[str, float]:
    """Train each network for all persons with all seeds; print a table and return the mean accuracies."""
    print(f"{f'MAMEM II, {len(subjects)} persons':36}{'accuracy':>10}  (deviation of seeds)")
    for name, value in FLOORS.items():
        print(f"{name:36}{value:10.3f}")
    means = {}
    for name, network in NETWORKS.items():
        runs = np.array([[accuracy(folder, who, network, seed, **budget) for who in subjects] for seed in seeds])
        means[name] = float(runs.mean())
        print(f"{name:36}{means[name]:10.3f} +- {runs.mean(1).std():.3f}", flush=True)
    return means


def main(data: Path | None = None, epochs: int = 30, seeds: int = 5, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes made-up data for a few steps, to show that it runs."""
    torch.set_num_threads(1)  # small matrices
    if smoke:
        with tempfile.TemporaryDirectory() as folder:
            make_up(Path(folder))
            compare(Path(folder), [1], [0], max_steps=2, limit_val_batches=1, limit_test_batches=1)
    elif data is None:
        raise SystemExit(WHERE)
    else:
        means = compare(data, range(1, 7), range(seeds), max_epochs=epochs)
        if not max(means.values()) > FLOORS["floor: their logarithms"]:
            raise SystemExit("expected a network above the logistic regression of the logarithms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of U001.npz, ...")
    parser.add_argument("--epochs", type=int, default=30, help="of each training")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each network and person")
    parser.add_argument("--smoke", action="store_true", help="a few steps on made-up data")
    main(**vars(parser.parse_args()))
