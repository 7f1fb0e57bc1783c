import random

import numpy as np
import pytest
import torch
from pytorch_lightning import seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from isometry.trainers.callbacks import RNGState
from tests.trainers.callbacks.toy import StatefulLoader, Toy, in_two_processes, trainer


def run_and_resume(folder, saving: ModelCheckpoint, loader, seed: int = 0, **options) -> tuple[Toy, Toy]:
    """Train without interruption, saving on the way; then resume in a world with other seeds."""
    seed_everything(seed, verbose=False)
    whole = Toy()
    trainer(folder, RNGState(), saving, **options).fit(whole, loader())
    seed_everything(seed + 100, verbose=False)
    resumed = Toy(seed=1)
    path = f"{folder}/saved.ckpt"
    trainer(folder, RNGState(), **options).fit(resumed, loader(), ckpt_path=path, weights_only=True)
    return whole, resumed


def check_equal(whole: Toy, resumed: Toy) -> None:
    assert 0 < len(resumed.draws) < len(whole.draws)
    assert resumed.draws == whole.draws[-len(resumed.draws) :]
    for p, q in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)


class SaveOnce(ModelCheckpoint):
    """Save at one step."""

    def __init__(self, folder, step: int) -> None:
        super().__init__(folder, "saved", every_n_train_steps=step)

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self._every_n_train_steps:
            super().on_train_batch_end(trainer, *args)


@pytest.mark.parametrize("step", [1, 3, 4, 6, 8])
def test_a_run_resumed_at_any_step_is_the_same(tmp_path, step):
    """Four steps are an epoch."""
    check_equal(*run_and_resume(tmp_path, SaveOnce(tmp_path, step), StatefulLoader))


@pytest.mark.parametrize("step", [1, 3, 6])
def test_torchdatas_loader_resumes_in_the_middle_of_an_epoch(tmp_path, step):
    def loader() -> StatefulDataLoader:
        return StatefulDataLoader(torch.arange(16), batch_size=4, shuffle=True)

    check_equal(*run_and_resume(tmp_path, SaveOnce(tmp_path, step), loader))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("when", [{"every_n_train_steps": 8}, {"every_n_epochs": 2, "save_on_train_epoch_end": True}])
def test_a_run_resumed_at_the_end_of_an_epoch_needs_no_state_of_the_loader(tmp_path, when, workers):
    def loader() -> DataLoader:
        return DataLoader(torch.arange(16), batch_size=4, shuffle=True, num_workers=workers)

    check_equal(*run_and_resume(tmp_path, ModelCheckpoint(tmp_path, "saved", **when), loader))


def test_all_generators_are_restored():
    states = RNGState().state_dict()
    first = torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()
    RNGState().load_state_dict(states)
    assert (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) == first


def test_another_number_of_processes_is_told():
    state = RNGState().state_dict()
    before = torch.get_rng_state()
    with pytest.warns(UserWarning, match="generators of 2 processes, but this run has 1"):
        RNGState().load_state_dict({"ranks": state["ranks"] * 2})
    assert torch.equal(torch.get_rng_state(), before)


def worker(rank: int, folder: str) -> tuple[list[float], list[float]]:
    saving = SaveOnce(folder, 6)
    whole, resumed = run_and_resume(folder, saving, StatefulLoader, seed=rank, devices=2, strategy="ddp")
    check_equal(whole, resumed)
    return whole.draws, resumed.draws


def test_each_rank_has_its_own_generators(tmp_path):
    (first, first_resumed), (second, second_resumed) = in_two_processes(worker, str(tmp_path))
    assert first[-6:] == first_resumed
    assert second[-6:] == second_resumed
    assert not set(first) & set(second)
