"""GraphEmbedding: training, exact resume, and what it refuses."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint
from torch import nn

from isometry.layers import FermiDirac
from isometry.manifolds import Euclidean, Lorentz, Manifold, OffManifoldError, PoincareBall
from isometry.models import NodeEmbedding
from isometry.trainers import GraphEmbedding
from isometry.trainers.callbacks import NaNGuard, RNGState
from isometry.trainers.data import DistanceDataModule, EdgeBatches, GraphDataModule, balanced_tree
from isometry.trainers.losses import DistortionLoss, LinkLoss, RankingLoss
from isometry.trainers.metrics import Distortion, Reconstruction
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD

ROOT = Path(__file__).parents[2]
TREE = balanced_tree(3, 3)
CLOSURE = TREE.transitive_closure()
FUSED = {"manifold": PoincareBall(2), "optimizer": partial(RiemannianSGD, lr=5.0)}
ADAM = {"manifold": Lorentz(2, learnable=True), "optimizer": partial(RiemannianAdam, lr=0.05)}


def task(manifold: Manifold, optimizer: Any, loss: nn.Module | None = None, **options: Any) -> GraphEmbedding:
    manifold = type(manifold)(**manifold.spec["init_args"])  # a learnable curvature of its own
    model = NodeEmbedding(40, manifold, init_scale=0.1, dtype=options.pop("dtype", None))
    options = {"metrics": [Reconstruction(CLOSURE)], "burn_in_epochs": 1, "burn_in_factor": 0.1, **options}
    return GraphEmbedding(model, loss or RankingLoss(), optimizer, **options)


def data(**options: Any) -> GraphDataModule:
    return GraphDataModule(CLOSURE, **{"batch_size": 10, "num_negatives": 4, "burn_in_epochs": 1, **options})


def trainer(folder: Path | None = None, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    checkpoints = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    options = {"max_epochs": 3, "enable_checkpointing": checkpoints, "default_root_dir": folder, **quiet, **options}
    return pl.Trainer(callbacks=list(callbacks), **options)


# --- training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manifold", "optimizer", "loss", "mean_ap"),
    [
        (PoincareBall(5), partial(RiemannianSGD, lr=2.0), RankingLoss(), 0.9),
        (Lorentz(5), partial(RiemannianAdam, lr=0.03), RankingLoss(), 0.9),
        (PoincareBall(5), partial(RiemannianAdam, lr=0.1), LinkLoss(FermiDirac(r=3.0, t=0.5)), 0.8),
    ],
    ids=["fused", "adam", "links"],
)
def test_it_learns_a_hierarchy(manifold: Manifold, optimizer: Any, loss: nn.Module, mean_ap: float) -> None:
    run = trainer(max_epochs=100, check_val_every_n_epoch=100)
    run.fit(task(manifold, optimizer, loss), data(num_negatives=20))
    assert run.callback_metrics["val/map"] > mean_ap
    assert run.callback_metrics["val/mean_rank"] < 2


def test_it_learns_a_trees_distances() -> None:
    module = task(**ADAM, loss=DistortionLoss(), metrics=[Distortion(TREE)], burn_in_epochs=0)
    run = trainer(max_epochs=50, check_val_every_n_epoch=50)
    run.fit(module, DistanceDataModule(TREE, batch_size=4, num_others=16))
    assert run.callback_metrics["val/distortion"] < 0.25


def test_in_flat_space_it_is_a_loop_in_plain_torch() -> None:
    torch.manual_seed(0)
    module = task(Euclidean(3), partial(RiemannianSGD, lr=0.5), dtype=torch.float64)
    weight = module.model.nodes.weight.detach().clone().requires_grad_()
    losses = []
    trainer(None, LambdaCallback(on_train_batch_end=lambda *args: losses.append(args[2]["loss"].item()))).fit(
        module, data()
    )

    optimizer = torch.optim.SGD([weight], lr=0.5)
    batches, expected = EdgeBatches(CLOSURE, 10, 4, burn_in_epochs=1), []
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = 0.05 if epoch == 0 else 0.5
        for index in batches:
            distance = (weight[index[:, :1]] - weight[index[:, 1:]]).norm(dim=-1)
            loss = nn.functional.cross_entropy(-distance, torch.zeros(len(index), dtype=torch.int64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
    assert losses == pytest.approx(expected, rel=1e-12)
    assert torch.allclose(module.model.nodes.weight, weight, rtol=1e-11, atol=1e-13)


def test_the_logged_loss_is_the_mean_over_the_epochs_rows() -> None:
    """At rate 0 all batches see the same embedding, so the mean is that over all rows at once."""
    for fused in (True, False):
        module = task(PoincareBall(2), partial(RiemannianSGD, lr=0.0), fused=fused, dtype=torch.float64)
        run = trainer(max_epochs=1)
        run.fit(module, data(batch_size=7))
        rows = torch.cat(list(EdgeBatches(CLOSURE, 7, 4, burn_in_epochs=1)))
        expected = RankingLoss()(module.model(rows)).item()
        assert run.callback_metrics["train/loss"].item() == pytest.approx(expected, rel=1e-6)  # logged in float32


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("length", [{}, {"limit_train_batches": 1}], ids=["whole", "limited"])
def test_burn_in_is_at_a_fraction_of_the_rate(fused: bool, length: dict[str, int]) -> None:
    rates: list[float] = []
    watch = LambdaCallback(on_train_epoch_start=lambda run, _: rates.append(run.optimizers[0].param_groups[0]["lr"]))
    trainer(None, watch, max_epochs=4, **length).fit(task(**FUSED, fused=fused), data())
    assert rates == [0.5, 5.0, 5.0, 5.0]


def test_metrics_are_named_by_the_stage_and_equal() -> None:
    run, module = trainer(), task(**FUSED)
    (validated,) = run.validate(module, data(), verbose=False)
    (tested,) = run.test(module, data(), verbose=False)
    assert validated.keys() == {"val/map", "val/map_error", "val/mean_rank", "val/mean_rank_error"}
    assert {name.replace("test", "val"): value for name, value in tested.items()} == validated


# --- exact resume --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [FUSED, ADAM], ids=["fused", "adam"])
def test_a_run_resumed_from_any_step_is_the_uninterrupted_one(tmp_path: Path, case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    whole = task(**case)
    every_step = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    run = trainer(tmp_path, every_step, RNGState())
    run.fit(whole, data())
    per_epoch = run.global_step // 3
    for step in {1, per_epoch - 1, per_epoch, per_epoch + 1, 2 * per_epoch, 3 * per_epoch - 1}:
        torch.manual_seed(step)
        resumed, again = task(**case), trainer(tmp_path, RNGState())
        again.fit(resumed, data(), ckpt_path=tmp_path / f"step={step}.ckpt", weights_only=True)
        assert again.global_step == run.global_step
        for (name, p), q in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
            assert p == q if isinstance(p, dict) else torch.equal(p, q), f"{name} from step {step}"
        assert again.callback_metrics == run.callback_metrics


KILLED = """
import os, signal, sys
from pathlib import Path
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint
import torch
from tests.trainers.test_graph_embedding import ADAM, FUSED, data, task, trainer

torch.set_num_threads(1)
torch.manual_seed(0)
case, folder, number, at_step = sys.argv[1:]
kill = LambdaCallback(
    on_train_batch_start=lambda run, *_: run.global_step == int(at_step) and os.kill(os.getpid(), int(number))
)
saving = ModelCheckpoint(folder, save_last=True, every_n_train_steps=2)
trainer(Path(folder), saving, kill).fit(task(**{"ADAM": ADAM, "FUSED": FUSED}[case]), data())
"""


@pytest.mark.parametrize(("case", "at_step"), [("FUSED", 3), ("ADAM", 17)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_is_resumed_from_its_last_checkpoint(
    tmp_path: Path, case: str, at_step: int, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", KILLED, case, str(tmp_path), str(int(number)), str(at_step)]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}, capture_output=True)
    kwargs = {"ADAM": ADAM, "FUSED": FUSED}[case]
    torch.manual_seed(0)
    whole, run = task(**kwargs), trainer()
    run.fit(whole, data())
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert 0 < saved["global_step"] < run.global_step, killed.stderr.decode()
    torch.manual_seed(1)
    resumed = task(**kwargs)
    trainer(tmp_path, ModelCheckpoint(tmp_path)).fit(resumed, data(), ckpt_path="last")
    for p, q in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)


# --- bad input -----------------------------------------------------------------------------------------------


def test_data_of_another_size_are_refused() -> None:
    other = GraphDataModule(balanced_tree(3, 2), batch_size=4, num_negatives=2)
    with pytest.raises(ValueError, match="the model has 40 nodes, but the data 13; build the model with num_nodes=13"):
        trainer().fit(task(**FUSED), other)


def test_points_off_the_manifold_are_refused() -> None:
    module = task(**FUSED)
    with torch.no_grad():
        module.model.nodes.weight[3] = 1.0
    with pytest.raises(OffManifoldError, match=r"PoincareBall\(dim=2.*point residual 1\.0e\+00 > atol"):
        trainer().fit(module, data())


@pytest.mark.parametrize("case", [FUSED, ADAM], ids=["fused", "adam"])
def test_numbers_that_are_not_finite_stop_the_run(case: dict[str, Any]) -> None:
    def poison(run: pl.Trainer, module: GraphEmbedding, *_: Any) -> None:
        if run.global_step >= 1:
            with torch.no_grad():
                module.model.nodes.weight[:] = torch.nan

    with pytest.raises(FloatingPointError, match=r"NaNGuard: .*model\.nodes\.weight"):
        trainer(None, LambdaCallback(on_train_batch_start=poison), NaNGuard(patience=2)).fit(task(**case), data())


def test_a_single_bad_gradient_is_skipped() -> None:
    def poison(run: pl.Trainer, module: GraphEmbedding) -> None:
        if run.global_step == 2:
            gradient = module.model.nodes.weight.grad
            assert gradient is not None
            gradient._values().fill_(torch.nan)

    guard, module = NaNGuard(), task(**ADAM)
    with pytest.warns(UserWarning, match=r"skipped step 2: the gradient of model\.nodes\.weight is not finite"):
        trainer(None, LambdaCallback(on_after_backward=poison), guard).fit(module, data())
    assert guard.skipped == 1
    assert all(p.isfinite().all() for p in module.parameters())
