"""Fit a function to its values on a grid."""

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from isometry.trainers._configured import configured
from isometry.trainers._epoch_loss import EpochLoss
from isometry.trainers.data.grid_data import Axes


class FunctionFitting(pl.LightningModule):
    r"""Fit a function of coordinates, such as an image or a video, by least squares; the data are a ``GridDataModule``.

    A batch is ``(axes, values)``, for which ``model.on_grid(axes)`` is compared with the values ``[n_1, ..., n_d, o]``,
    or ``(points, values)`` for ``model(points)``. Logged are ``train/loss``, the mean square, and under ``val/`` and
    ``test/`` ``psnr = -10 log10`` of the mean square on the whole grid, the values being in [0, 1].

    Args:
        model: The function, such as ``FunctionalTT`` or ``SIREN``.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianAdam, lr=1e-3)``.
        scheduler: Builds a schedule of the learning rate, stepped after every epoch, from the optimizer.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.mean_square = MeanMetric(nan_strategy=math.nan)  # NaN stays NaN, and is not left out
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._epoch_loss = EpochLoss()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and the schedule."""
        return configured(self, self._optimizer, self._scheduler)

    def _mean_square(self, batch: tuple[Axes | Tensor, Tensor]) -> Tensor:
        where, values = batch
        model: Any = self.model
        prediction = model(where) if isinstance(where, Tensor) else model.on_grid(where)
        if prediction.shape != values.shape:  # which a difference might broadcast in silence
            raise ValueError(
                f"FunctionFitting: expected values {list(values.shape)}, but the model returns "
                f"{list(prediction.shape)}; build it for {values.ndim - 1} coordinates and as many components."
            )
        return F.mse_loss(prediction, values)

    def training_step(self, batch: tuple[Axes | Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean square of a batch."""
        loss = self._mean_square(batch)
        self._epoch_loss.add(loss, batch[1].shape[:-1].numel())
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all points."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: tuple[Axes | Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch's mean square."""
        self.mean_square.update(self._mean_square(batch), weight=batch[1].numel())

    def on_validation_epoch_end(self) -> None:
        """Log the peak signal-to-noise ratio."""
        stage = "test" if self.trainer.testing else "val"
        self.log(f"{stage}/psnr", -10 * self.mean_square.compute().log10(), prog_bar=True, sync_dist=True)
        self.mean_square.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the loss of the epoch so far."""
        self._epoch_loss.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's loss."""
        self._epoch_loss.load(checkpoint)
