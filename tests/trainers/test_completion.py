"""Completion as a task: the steps of the model, what is logged, and two processes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from isometry.manifolds.low_rank import FixedRankTucker
from isometry.models import TensorCompletion
from isometry.trainers import Completion
from isometry.trainers.data import TensorEntries
from tests.trainers.callbacks.toy import in_two_processes, trainer

SHAPE = (8, 7, 6)


class Planted(TensorEntries):
    """Half of a tensor of rank 2 to train, a tenth to test."""

    shape = SHAPE

    def read(self) -> Any:
        generator = torch.Generator().manual_seed(0)
        m = FixedRankTucker(SHAPE)
        w = m.to_dense(m.random(2, scale=10.0, generator=generator, dtype=torch.float64))
        order = torch.cartesian_prod(*map(torch.arange, SHAPE))[torch.randperm(w.numel(), generator=generator)]
        return tuple((part, w[part.unbind(-1)]) for part in (order[:200], order[200:240]))


def fit(folder: Any, epochs: int = 25, **options: Any) -> tuple[list[Any], dict[str, float]]:
    task, data = Completion(TensorCompletion(FixedRankTucker(SHAPE), 2)), Planted(0.1, seed=0)
    run = trainer(folder, max_epochs=epochs, **options)
    run.fit(task, data)
    logged = {name: value.item() for name, value in run.callback_metrics.items()}
    (tested,) = run.test(task, data, verbose=False)
    return [p.detach().tolist() for p in task.parameters()], logged | tested


def test_the_steps_are_those_of_the_model(tmp_path: Path) -> None:
    parameters, logged = fit(tmp_path)
    model, data = TensorCompletion(FixedRankTucker(SHAPE), 2), Planted(0.1, seed=0)
    history = model.fit(*data.parts["train"], steps=25, tol=0.0)
    assert parameters == [p.tolist() for p in model.parameters()]
    assert logged["train/rmse"] == pytest.approx(history[-1], rel=1e-6)
    assert logged["test/rmse"] < 1e-5
    places, values = data.parts["val"]
    rmse = (model(places) - values).square().mean().sqrt()
    assert logged["val/rmse"] == pytest.approx(rmse.item(), rel=1e-4)


def worker(rank: int, folder: str) -> Any:
    return fit(folder, epochs=5, devices=2, strategy="ddp")


def test_two_processes_are_one(tmp_path: Path) -> None:
    first, second = in_two_processes(worker, str(tmp_path))
    assert isinstance(first, tuple), first
    assert first == second
    parameters, logged = fit(tmp_path, epochs=5)
    assert first[0] == parameters
    assert first[1] == pytest.approx(logged, rel=1e-6)


def test_data_of_another_shape_are_refused(tmp_path: Path) -> None:
    task = Completion(TensorCompletion(FixedRankTucker((8, 7, 5)), 2))
    with pytest.raises(ValueError, match=r"the model is of shape \(8, 7, 5\), but the data of \(8, 7, 6\)"):
        trainer(tmp_path).fit(task, Planted(0.1, seed=0))
