"""The mean loss of an epoch, which outlives an interruption."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor


class EpochLoss:
    """The mean, over rows and processes, of an epoch's losses so far; a checkpoint holds it."""

    def __init__(self) -> None:
        self._sum = torch.zeros(())
        self._rows: int | Tensor = 0

    def add(self, loss: Tensor, rows: int | Tensor) -> None:
        """Add a batch's mean loss."""
        self._sum, self._rows = self._sum + rows * loss.detach(), self._rows + rows

    def log(self, module: pl.LightningModule) -> None:
        """Log ``train/loss`` at the end of an epoch, and start anew."""
        if self._rows:
            module.log("train/loss", self._sum / self._rows, prog_bar=True, sync_dist=True)
        self._sum, self._rows = torch.zeros_like(self._sum), 0

    def save(self, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the mean of all processes to a checkpoint; nothing if the epoch is over, which is not run again."""
        total = module.trainer.strategy.reduce(self._sum.to(module.device, copy=True), reduce_op="mean")
        over = module.trainer.is_last_batch
        checkpoint["epoch_loss"] = (torch.zeros_like(total), 0) if over else (total, self._rows)

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Restore what ``save`` added."""
        self._sum, self._rows = checkpoint.get("epoch_loss", (self._sum, self._rows))
