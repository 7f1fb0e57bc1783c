"""Low-rank layers train in Lightning: ranks change, runs resume exactly, and two processes are one."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import LambdaCallback, ModelCheckpoint

from isometry.manifolds.low_rank import named_low_rank
from isometry.trainers.callbacks import ManifoldMonitor, NaNGuard, RNGState
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD
from tests.trainers.callbacks.toy import in_two_processes, trainer
from tests.trainers.low_rank_toy import AUGMENTED, PARALLEL, Blobs, task

OPTIONS = {"parallel": PARALLEL, "augmented": AUGMENTED}


def fit(
    name: str, folder: Any, seed: int = 0, resume: str | None = None, **options: Any
) -> tuple[dict[str, Any], list[tuple[int, ...]], list[float], dict[str, float]]:
    """The state, ranks and loss after each step, and what was logged."""
    module, ranks, losses = task(seed, **OPTIONS[name]), [], []

    def record(*arguments: Any) -> None:
        losses.append(arguments[2]["loss"].item())
        ranks.extend(tensor.ranks for tensor in named_low_rank(arguments[1]).values())

    save = ModelCheckpoint(
        folder, filename="{step}", every_n_train_steps=1, save_top_k=-1, enable_version_counter=False
    )
    callbacks = [LambdaCallback(on_train_batch_end=record), ManifoldMonitor(), NaNGuard(), RNGState(), save]
    run = trainer(folder, *callbacks, **options)
    run.fit(module, Blobs(), ckpt_path=resume, weights_only=True)
    state = {key: value.tolist() for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    return state, ranks, losses, {key: value.item() for key, value in run.callback_metrics.items()}


def test_it_learns_and_the_rank_falls(tmp_path: Path) -> None:
    module, run = task(), trainer(tmp_path, max_epochs=30)
    run.fit(module, Blobs())
    assert run.callback_metrics["val/accuracy"] > 0.85
    assert named_low_rank(module)["model.body.factors"].ranks < (6, 6)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("step", [2, 6, 10])
def test_resumed_is_uninterrupted(tmp_path: Path, name: str, step: int) -> None:
    whole = fit(name, tmp_path / "whole")
    assert len(set(whole[1])) > 1  # ranks change
    resumed = fit(name, tmp_path / "again", seed=1, resume=str(tmp_path / "whole" / f"step={step}.ckpt"))
    assert resumed[0] == whole[0]
    assert resumed[1] == whole[1][step:]
    assert resumed[3] == whole[3]


def worker(rank: int, name: str, folder: str, resume: str | None) -> Any:
    return fit(name, folder, seed=rank, resume=resume, devices=2, strategy="ddp")


@pytest.mark.parametrize("name", OPTIONS)
def test_two_processes_are_one_and_resume(tmp_path: Path, name: str) -> None:
    """In float64; what differs is the order of sums."""
    first, second = in_two_processes(worker, name, str(tmp_path / "two"), None)
    assert isinstance(first, tuple), first
    assert first[0] == second[0]  # the replicas, to the last bit
    assert first[1] == second[1]
    assert len(set(first[1])) > 1
    state, ranks, losses, logged = fit(name, tmp_path / "one")
    assert ranks == first[1]
    assert [(a + b) / 2 for a, b in zip(first[2], second[2], strict=True)] == pytest.approx(losses, rel=1e-9)
    for key, value in state.items():
        assert torch.allclose(torch.tensor(first[0][key]), torch.tensor(value), rtol=1e-8, atol=1e-10), key
    assert first[3] == pytest.approx(logged, rel=1e-6)

    again, other = in_two_processes(worker, name, str(tmp_path / "resumed"), str(tmp_path / "two" / "step=4.ckpt"))
    assert isinstance(again, tuple), again
    assert again[0] == other[0] == first[0]
    assert again[1] == first[1][4:]


@pytest.mark.parametrize("optimizer", [RiemannianSGD, RiemannianAdam])
def test_other_optimizers_refuse_tangent_coordinates(optimizer: Any) -> None:
    module = task()
    with pytest.raises(ValueError, match=r"the gradients of model\.body\.factors are tangent coordinates"):
        optimizer(module, lr=0.1)
    factors = module.model.body.factors
    factors.tangent_grad = False
    partial(optimizer, lr=0.1)(module)
