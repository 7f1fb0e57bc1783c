"""Two gloo processes train what one process trains."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback
from torch import Tensor

from isometry.manifolds import Lorentz, PoincareBall
from isometry.models import NodeEmbedding
from isometry.trainers import GraphEmbedding
from isometry.trainers.callbacks import ManifoldMonitor, NaNGuard, RNGState
from isometry.trainers.cli import main
from isometry.trainers.data import DistanceDataModule, GraphDataModule, balanced_tree
from isometry.trainers.losses import DistortionLoss, RankingLoss
from isometry.trainers.metrics import Distortion, Reconstruction
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD
from tests.trainers.callbacks.toy import in_two_processes
from tests.trainers.test_cli import CONFIGS, config

TREE = balanced_tree(3, 3)
CLOSURE = TREE.transitive_closure()


def sgd(seed: int) -> tuple[GraphEmbedding, pl.LightningDataModule]:
    """A sparse table on the ball and RiemannianSGD."""
    torch.manual_seed(seed)
    model = NodeEmbedding(40, PoincareBall(3), init_scale=0.1, dtype=torch.float64)
    optimizer, metrics = partial(RiemannianSGD, lr=2.0), [Reconstruction(CLOSURE)]
    module = GraphEmbedding(model, RankingLoss(), optimizer, metrics, burn_in_epochs=1, fused=False)
    return module, GraphDataModule(CLOSURE, batch_size=10, num_negatives=4, burn_in_epochs=1)


def curvature(seed: int) -> tuple[GraphEmbedding, pl.LightningDataModule]:
    """A dense table on the Lorentz model, whose curvature is learnt, and RiemannianAdam."""
    torch.manual_seed(seed)
    manifold = Lorentz(3, learnable=True).double()
    model = NodeEmbedding(40, manifold, init_scale=0.1, sparse=False, dtype=torch.float64)
    optimizer, metrics = partial(RiemannianAdam, lr=0.05), [Distortion(TREE)]
    module = GraphEmbedding(model, DistortionLoss(), optimizer, metrics, burn_in_epochs=0)
    return module, DistanceDataModule(TREE, batch_size=8, num_others=6)


def sparse_curvature(seed: int) -> tuple[GraphEmbedding, pl.LightningDataModule]:
    """A sparse table on the ball, whose curvature is learnt, and RiemannianSGD."""
    torch.manual_seed(seed)
    model = NodeEmbedding(40, PoincareBall(3, learnable=True).double(), init_scale=0.1, dtype=torch.float64)
    optimizer, metrics = partial(RiemannianSGD, lr=0.5), [Reconstruction(CLOSURE)]
    module = GraphEmbedding(model, RankingLoss(), optimizer, metrics, burn_in_epochs=1)
    return module, GraphDataModule(CLOSURE, batch_size=10, num_negatives=4, burn_in_epochs=1)


def fit(case: Any, seed: int, folder: str, **options: Any) -> tuple[dict[str, Tensor], list[float], dict[str, float]]:
    """Return the parameters, the loss of each batch and what was logged at the end of training."""
    module, data = case(seed)
    losses: list[float] = []
    record = LambdaCallback(on_train_batch_end=lambda *arguments: losses.append(arguments[2]["loss"].item()))
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    callbacks = [record, ManifoldMonitor(), NaNGuard(), RNGState()]
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=callbacks,
        check_val_every_n_epoch=3,
        **quiet,
        **options,
    )
    trainer.fit(module, data)
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    return parameters, losses, {name: value.item() for name, value in trainer.callback_metrics.items()}


def worker(rank: int, case: Any, folder: str) -> Any:
    parameters, losses, logged = fit(case, seed=rank, folder=folder, devices=2, strategy="ddp")
    return {name: p.tolist() for name, p in parameters.items()}, losses, logged


@pytest.mark.parametrize("case", [sgd, curvature, sparse_curvature], ids=lambda case: case.__name__)
def test_two_processes_are_one(tmp_path: Path, case: Any) -> None:
    """In float64, so that what differs is the order of sums: 3e-16 a step, which training amplifies."""
    first, second = in_two_processes(worker, case, str(tmp_path))
    assert isinstance(first, tuple), first
    assert first[0] == second[0]  # the replicas, to the last bit
    assert first[2] == second[2]

    parameters, losses, logged = fit(case, seed=0, folder=str(tmp_path), devices=1)
    together = [(a + b) / 2 for a, b in zip(first[1], second[1], strict=True)]
    assert together == pytest.approx(losses, rel=1e-10)
    assert first[1] != second[1]  # each process has its own share
    for name, p in parameters.items():
        assert torch.allclose(torch.tensor(first[0][name], dtype=p.dtype), p, rtol=1e-9, atol=1e-11), name
    assert first[2] == pytest.approx(logged, rel=1e-6)  # logged in float32


def test_the_shipped_config_runs_on_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, for two epochs of burn-in, which amplify rounding little."""
    monkeypatch.setattr(sys, "argv", ["isometry"])
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    main(["fit", *config(one, "mammals.yaml"), "--model.init_args.fused=false"])
    command = [
        sys.executable,
        "-m",
        "isometry.trainers.cli",
        "fit",
        *config(two, "mammals.yaml"),
        f"--config={CONFIGS / 'ddp.yaml'}",
    ]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120)

    alone, together = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, two))
    assert alone["global_step"] == together["global_step"] > 0
    weights = [checkpoint["state_dict"]["model.nodes.weight"] for checkpoint in (alone, together)]
    assert torch.allclose(*weights, rtol=1e-4, atol=1e-6)
