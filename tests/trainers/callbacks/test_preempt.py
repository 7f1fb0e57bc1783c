import os
import signal

import pytest
import torch
from pytorch_lightning import seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint

from isometry.trainers.callbacks import Preempt, RNGState
from tests.trainers.callbacks.toy import StatefulLoader, Toy, in_two_processes, trainer


class Signalled(Toy):
    """A module whose process is sent a signal in the middle of a step."""

    at_step = 5
    number = signal.SIGTERM
    on_rank = 0

    def training_step(self, batch, batch_idx):
        if self.global_step == self.at_step and self.global_rank == self.on_rank:
            os.kill(os.getpid(), self.number)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("at_step", [5, 7])  # in the middle, and the last of an epoch
def test_a_stopped_run_resumes_as_if_nothing_had_happened(tmp_path, number, at_step):
    handler = signal.getsignal(number)
    seed_everything(0, verbose=False)
    whole = Toy()
    trainer(tmp_path).fit(whole, StatefulLoader())

    seed_everything(0, verbose=False)
    stopped = Signalled()
    stopped.at_step, stopped.number = at_step, number
    preempt = Preempt(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        trainer(tmp_path, RNGState(), preempt, min_epochs=3).fit(stopped, StatefulLoader())
    assert exit_.value.code == 143
    assert torch.load(preempt.ckpt_path, weights_only=True)["global_step"] == at_step + 1
    assert signal.getsignal(number) == handler

    seed_everything(1, verbose=False)
    resumed = Toy(seed=1)
    run = trainer(tmp_path, RNGState(), Preempt(tmp_path), ModelCheckpoint(tmp_path))
    run.fit(resumed, StatefulLoader(), ckpt_path="last")
    assert run.global_step == 12
    for p, q in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)


def test_the_last_batch_waits_for_the_end_of_the_epoch(tmp_path):
    class Counts(Signalled):
        at_step = 3
        ended = 0

        def on_train_epoch_end(self):
            self.ended += 1

    module = Counts()
    with pytest.raises(SystemExit):
        trainer(tmp_path, Preempt(tmp_path)).fit(module, StatefulLoader())
    assert module.ended == 1


def worker(rank: int, folder: str) -> tuple[object, int, list[float]]:
    module = Signalled()
    module.on_rank = 1
    run = trainer(folder, Preempt(folder), devices=2, strategy="ddp")
    try:
        run.fit(module, StatefulLoader())
    except SystemExit as exit_:
        return exit_.code, run.global_step, torch.cat([p.detach().flatten() for p in module.parameters()]).tolist()
    raise AssertionError("the run was not stopped")


def test_a_signal_to_one_rank_stops_both(tmp_path):
    first, second = in_two_processes(worker, str(tmp_path))
    assert first == second
    assert first[:2] == (143, 6)
    assert (tmp_path / "last-preempted.ckpt").exists()
