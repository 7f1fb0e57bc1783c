"""Train a network between functions."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from isometry.trainers._configured import configured
from isometry.trainers._epoch_loss import EpochLoss
from isometry.trainers.losses.operator import RelativeError, relative_errors


class OperatorLearning(pl.LightningModule):
    r"""Fit a model to pairs of functions on grids, such as coefficients and solutions of a differential equation.

    A batch is ``(*inputs, target)``, the target ``[b, c, n_1, ..., n_d]`` and ``model(*inputs)`` of the same shape.
    Logged are ``train/loss``, the mean over an epoch's samples, and ``loss``, ``l2`` and ``h1``, the relative errors,
    under ``val/`` and ``test/``, over the samples of all processes.

    Args:
        model: The model, such as ``FNO``.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianAdam, lr=1e-3)``.
        scheduler: Builds a schedule of the learning rate, stepped after every epoch, from the optimizer.
        loss: Maps predictions and targets to the mean over samples; the relative L2 error by default.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        loss: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = RelativeError() if loss is None else loss
        # NaN stays NaN, and is not left out.
        self.mean_loss, self.mean_l2, self.mean_h1 = (MeanMetric(nan_strategy=math.nan) for _ in range(3))
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._epoch_loss = EpochLoss()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer, spare the manifolds from its decay, and build the schedule."""
        return configured(self, self._optimizer, self._scheduler)

    def _prediction_and_loss(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        *inputs, target = batch
        prediction = self.model(*inputs)
        if prediction.shape != target.shape:  # which a loss might broadcast in silence
            raise ValueError(
                f"OperatorLearning: expected predictions {list(target.shape)}, but got {list(prediction.shape)}."
            )
        return prediction, self.loss(prediction, target)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        _, loss = self._prediction_and_loss(batch)
        self._epoch_loss.add(loss, len(batch[-1]))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all samples."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Give a batch's loss and errors to the metrics."""
        prediction, loss = self._prediction_and_loss(batch)
        self.mean_loss.update(loss, weight=len(prediction))
        self.mean_l2.update(relative_errors(prediction, batch[-1], "l2"))
        self.mean_h1.update(relative_errors(prediction, batch[-1], "h1"))

    def on_validation_epoch_end(self) -> None:
        """Log what the metrics compute, the same on all processes."""
        stage = "test" if self.trainer.testing else "val"
        means = {"loss": self.mean_loss, "l2": self.mean_l2, "h1": self.mean_h1}
        values = {f"{stage}/{name}": mean.compute() for name, mean in means.items()}
        self.log_dict(values, prog_bar=True, sync_dist=True)
        for mean in means.values():
            mean.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the loss of the epoch so far."""
        self._epoch_loss.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's loss."""
        self._epoch_loss.load(checkpoint)
