"""A safe stop when the machine is taken away."""

import os
import signal
from types import FrameType
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities import rank_zero_info
from pytorch_lightning.utilities.exceptions import SIGTERMException


class Preempt(Checkpoint):
    """On SIGTERM or SIGUSR1 to any rank, save a checkpoint on all ranks after the batch and leave.

    The signal only raises a flag, which ranks compare after every batch. (Lightning's own handler talks to the other
    ranks from inside the handler, and waits for ever when only one rank is signalled.) After an epoch's last batch
    the checkpoint waits until the epoch has ended. The process leaves with exit code 143, so that a scheduler
    sees that it has not finished; ``trainer.fit(ckpt_path="last")`` goes on, if a ``ModelCheckpoint`` has the same
    folder.

    As a checkpoint callback it runs after all others, and Lightning adds no ``ModelCheckpoint`` of its own beside it.

    Args:
        dirpath: Folder of the checkpoint ``last-preempted.ckpt``.
    """

    def __init__(self, dirpath: str | os.PathLike[str]) -> None:
        self.ckpt_path = os.path.join(dirpath, "last-preempted.ckpt")
        self._signalled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, which restores the former handlers when the trainer ends."""
        self._signalled = False
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop here if asked to, except at the end of an epoch."""
        if not trainer.is_last_batch:
            self._stop_if_signalled(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop here if asked to."""
        self._stop_if_signalled(trainer)

    def _stop_if_signalled(self, trainer: Trainer) -> None:
        if trainer.strategy.reduce_boolean_decision(self._signalled, all=False):
            trainer.save_checkpoint(self.ckpt_path)
            rank_zero_info(f"Preempt: stopped by a signal after step {trainer.global_step}; saved {self.ckpt_path}")
            raise SIGTERMException(128 + signal.SIGTERM)
