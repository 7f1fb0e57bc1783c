"""
Recognise actions by covariances
================================

HDM05: eleven actions, from the covariance of 31 joints in motion, by a network of positive definite matrices (SPDNet),
without and with batch norm under several metrics. Three persons are trained on; a fourth one is tested.

The data do not come with the library: name the folder of ``cov93.npz``. ``--smoke`` makes up some.
"""

import argparse
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from isometry.manifolds import (
    Manifold,
    PowerDeformed,
    SPDAffineInvariant,
    SPDBuresWasserstein,
    SPDGeneralizedBuresWasserstein,
    SPDLogCholesky,
    SPDLogEuclidean,
)
from isometry.models import SPDNet
from isometry.trainers import Classification
from isometry.trainers.callbacks import ManifoldMonitor, NaNGuard
from isometry.trainers.data import HDM05
from isometry.trainers.optim import RiemannianAdam

WHERE = """--data: name a folder with cov93.npz, a numpy archive of cov [232, 93, 93], y [232] and subject [232], made
from the .amc.mat files of github.com/zhangchi8620/JointLearning-HDM05 (HDM05: resources.mpi-inf.mpg.de/HDM05)."""
SIZES = (93, 30)
BATCH_NORMS: dict[str, Manifold | None] = {
    "no batch norm": None,
    "affine-invariant": SPDAffineInvariant(30),
    "log-Euclidean": SPDLogEuclidean(30),
    "log-Cholesky": SPDLogCholesky(30),
    "Bures-Wasserstein": SPDBuresWasserstein(30),
    "generalised, power 1/2 (GBWBN)": PowerDeformed(SPDGeneralizedBuresWasserstein(30, learnable=True), 0.5),
}
FLOORS = {  # logistic regression of scikit-learn on standardised upper triangles; with the penalty C = 0.01, then 1
    "floor: covariances": 0.818,
    "floor: their logarithms": 0.955,
    "floor: the same, less penalty": 1.0,
}


def accuracy(folder: Path, batch_norm: Manifold | None, epochs: int, seed: int) -> float:
    """Train once; return the accuracy on the fourth person."""
    pl.seed_everything(seed, verbose=False)
    data = HDM05(folder, seed=seed)
    model = SPDNet(SIZES, data.num_classes, batch_norm=batch_norm)
    module = Classification(model, data.num_classes, functools.partial(RiemannianAdam, lr=1e-2))
    trainer = pl.Trainer(
        max_epochs=epochs,
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
    """Write covariances of noise in the format of the data."""
    x = np.random.default_rng(0).normal(size=(24, 93, 200)).astype(np.float32)
    subjects = np.repeat(["bd", "bk", "dg", "mm"], 6)
    np.savez(folder / "cov93.npz", cov=x @ x.transpose(0, 2, 1) / 200, y=np.arange(24) % 11, subject=subjects)


def compare(folder: Path, epochs: int, seeds: Sequence[int]) -> dict[str, float]:
    """Train each network with all seeds; print a table and return the mean accuracies."""
    print(f"{'HDM05, 11 actions, unseen person':36}{'accuracy':>16}")
    for name, value in FLOORS.items():
        print(f"{name:36}{value:10.3f}")
    means = {}
    for name, batch_norm in BATCH_NORMS.items():
        runs = np.array([accuracy(folder, batch_norm, epochs, seed) for seed in seeds])
        means[name] = float(runs.mean())
        print(f"{'SPDNet, ' + name:36}{means[name]:10.3f} +- {runs.std():.3f}", flush=True)
    return means


def main(data: Path | None = None, epochs: int = 50, seeds: int = 5, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes made-up data for two epochs, to show that it runs."""
    torch.set_num_threads(1)  # small matrices
    if smoke:
        with tempfile.TemporaryDirectory() as folder:
            make_up(Path(folder))
            compare(Path(folder), 2, range(1))
    elif data is None:
        raise SystemExit(WHERE)
    else:
        means = compare(data, epochs, range(seeds))
        if not max(means.values()) > FLOORS["floor: their logarithms"]:
            raise SystemExit("expected a network above the logistic regression of the logarithms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of cov93.npz")
    parser.add_argument("--epochs", type=int, default=50, help="of each training")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each network")
    parser.add_argument("--smoke", action="store_true", help="two epochs on made-up data")
    main(**vars(parser.parse_args()))
