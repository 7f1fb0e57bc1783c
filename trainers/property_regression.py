"""Train a model of properties of structures, graphs or nodes."""

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch_geometric.data import Batch
from torchmetrics import MeanMetric

from isometry.trainers._epoch_loss import EpochLoss
from isometry.trainers.metrics import Residual


class PropertyRegression(pl.LightningModule):
    r"""Fit a model to numbers or tensors that a batch has: of its structures, as polarizabilities, or of its nodes.

    A batch is a PyG ``Batch``; ``model(batch)`` has the shape of ``batch[target]``. Logged are ``train/loss``, the mean
    over an epoch's rows, and ``loss``, ``mae`` and ``rmse`` (of the components) under ``val/`` and ``test/``, over all
    processes.

    Args:
        model: The model, such as ``TensorProperty``.
        target: The name of the label.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianAdam, lr=1e-3)``.
        scheduler: Builds a schedule of the learning rate, stepped after every epoch, from the optimizer.
        loss: Maps predictions and labels to the mean over rows; the mean square by default. On a manifold
            ``lambda x, y: manifold.dist2(x, y).mean()``.
    """

    def __init__(
        self,
        model: nn.Module,
        target: str,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] = mse_loss,
    ) -> None:
        super().__init__()
        self.model = model
        self.target = target
        self.loss = loss
        self.residual = Residual()
        self.mean_loss = MeanMetric(nan_strategy=math.nan)  # NaN stays NaN, and is not left out
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._epoch_loss = EpochLoss()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and the schedule."""
        optimizer = self._optimizer(self)
        if self._scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._scheduler(optimizer)}

    def _prediction_and_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.target not in batch:
            raise ValueError(
                f"PropertyRegression: expected the label {self.target!r}, but the batch has {batch.keys()}; name it "
                "among the data module's properties."
            )
        prediction, label = self.model(batch), batch[self.target]
        if prediction.shape != label.shape:  # which a loss might broadcast in silence
            raise ValueError(
                f"PropertyRegression: expected predictions {list(label.shape)}, but got {list(prediction.shape)}."
            )
        return prediction, self.loss(prediction, label)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        _, loss = self._prediction_and_loss(batch)
        self._epoch_loss.add(loss, len(batch[self.target]))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all rows."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Give a batch's loss and errors to the metrics."""
        prediction, loss = self._prediction_and_loss(batch)
        self.mean_loss.update(loss, weight=len(prediction))
        self.residual.update(prediction - batch[self.target])

    def on_validation_epoch_end(self) -> None:
        """Log what the metrics compute, the same on all processes."""
        stage = "test" if self.trainer.testing else "val"
        values = {"loss": self.mean_loss.compute(), **self.residual.compute()}
        self.log_dict({f"{stage}/{key}": value.float() for key, value in values.items()}, prog_bar=True, sync_dist=True)
        self.mean_loss.reset()
        self.residual.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the loss of the epoch so far."""
        self._epoch_loss.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's loss."""
        self._epoch_loss.load(checkpoint)
