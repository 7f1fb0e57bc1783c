"""SIEPretraining: training, exact resume, and what it logs."""

from functools import partial
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from isometry.layers import LPAggregation, RotationAction
from isometry.models import SIE, DeepSets
from isometry.trainers import SIEPretraining
from isometry.trainers.data import RotatedClouds
from isometry.trainers.losses import SIELoss
from isometry.trainers.metrics import ClassProbe, PairProbe
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD
from tests.trainers.callbacks.toy import trainer


def data() -> RotatedClouds:
    return RotatedClouds((96, 64, 64), points=12, num_classes=3, batch_size=32)


def task(seed: int = 0) -> SIEPretraining:
    torch.manual_seed(seed)
    backbone = DeepSets(3, LPAggregation(3, 8, 3, radius=1.5), 32, 16)
    model = SIE(backbone, 16, 8, 24, 8, RotationAction("2x0e + 2x1o"))
    return SIEPretraining(model, 3, partial(RiemannianAdam, lr=3e-3))


def test_the_loss_decreases_and_all_is_logged(tmp_path: Path) -> None:
    module, run = task(), trainer(tmp_path, max_epochs=1)
    run.fit(module, data())
    first = run.callback_metrics["train/loss"].item()
    run = trainer(tmp_path, max_epochs=15)
    run.fit(module, data())
    assert run.callback_metrics["train/loss"].item() < 0.8 * first
    (tested,) = run.test(module, data(), verbose=False)
    expected = {
        "test/loss",
        *(f"test/{part}/{what}" for part in ("invariant", "equivariant") for what in ("accuracy", "r2")),
    }
    assert tested.keys() == expected


def test_what_is_logged_is_over_all_pairs(tmp_path: Path) -> None:
    module = task().eval()
    (tested,) = trainer(tmp_path).test(module, data(), verbose=False)
    x, y, z, labels = data().parts["test"]
    classes, pairs = ClassProbe(3), PairProbe()
    with torch.no_grad():
        losses = [SIELoss()(module.model(x[rows], y[rows], z[rows])) for rows in torch.arange(64).split(32)]
        classes.update(module.model.features(x)[0], labels)
        pairs.update(module.model.features(x)[1], module.model.features(y)[1], z)
    assert tested["test/loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    assert tested["test/invariant/accuracy"] == pytest.approx(classes.compute().item(), abs=1e-6)
    assert tested["test/equivariant/r2"] == pytest.approx(pairs.compute().item(), abs=1e-4)


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole = task()
    trainer(tmp_path, max_epochs=4).fit(whole, data())
    first = task()
    save = ModelCheckpoint(tmp_path, filename="half")
    trainer(tmp_path, save, max_epochs=2, enable_checkpointing=True).fit(first, data())
    second = task(seed=1)
    trainer(tmp_path, max_epochs=4).fit(second, data(), ckpt_path=str(tmp_path / "half.ckpt"))
    for p, q in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)


def test_other_losses_and_a_schedule(tmp_path: Path) -> None:
    module = task()
    schedule = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    module = SIEPretraining(module.model, 3, partial(RiemannianSGD, lr=0.1), schedule, SIELoss(covariance=0.0))
    run = trainer(tmp_path, max_epochs=2)
    run.fit(module, data())
    assert run.optimizers[0].param_groups[0]["lr"] == 0.025
