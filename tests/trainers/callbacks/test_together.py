"""All callbacks at once, on the task that they are for."""

import os
import signal
from functools import partial

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint

from isometry.manifolds import PoincareBall
from isometry.models import NodeEmbedding
from isometry.trainers import GraphEmbedding
from isometry.trainers.callbacks import ManifoldMonitor, NaNGuard, PoincareDisk, Preempt, RiemannianEMA, RNGState
from isometry.trainers.data import Graph, GraphDataModule
from isometry.trainers.losses import RankingLoss
from isometry.trainers.optim import RiemannianSGD
from tests.trainers.callbacks.toy import trainer

TREE = Graph(torch.tensor([(i, (i - 1) // 3) for i in range(1, 40)]), 40).transitive_closure()


def train(folder, seed: int, fused: bool, signal_at: int | None = None, resume: bool = False) -> GraphEmbedding:
    def interrupt(trainer: Trainer, module: LightningModule, *_: object) -> None:
        if trainer.global_step == signal_at:
            os.kill(os.getpid(), signal.SIGTERM)

    seed_everything(seed, verbose=False)
    optimizer = partial(RiemannianSGD, lr=5.0)
    task = GraphEmbedding(NodeEmbedding(40, PoincareBall(2)), RankingLoss(), optimizer, burn_in_epochs=1, fused=fused)
    watch = [LambdaCallback(on_train_batch_start=interrupt), ManifoldMonitor(), NaNGuard(), RiemannianEMA(0.9)]
    keep = [RNGState(), Preempt(folder), ModelCheckpoint(folder), PoincareDisk()]
    run = trainer(folder, *watch, *keep, limit_val_batches=0)
    run.fit(task, GraphDataModule(TREE, batch_size=20, num_negatives=4), ckpt_path="last" if resume else None)
    return task


@pytest.mark.parametrize(
    ("fused", "signal_at"), [(True, 2), (True, 3), (False, 8), (False, 11)]
)  # in the middle and at the end of the second epoch
def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path, fused, signal_at):
    whole = train(tmp_path / "whole", 0, fused)
    with pytest.raises(SystemExit):
        train(tmp_path, 0, fused, signal_at)
    resumed = train(tmp_path, 1, fused, resume=True)
    assert whole.automatic_optimization is not fused
    assert torch.equal(whole.model.nodes.weight, resumed.model.nodes.weight)
    assert whole.model.nodes.weight.abs().max() > 0.01
    assert (tmp_path / "poincare_disk.png").exists()
