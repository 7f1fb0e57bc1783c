"""Complete a tensor."""

from collections.abc import Sequence

import pytorch_lightning as pl
from torch import Tensor

from isometry.models import TensorCompletion
from isometry.trainers.metrics import Residual


class Completion(pl.LightningModule):
    """Fit a ``TensorCompletion`` to entries of a tensor, a step of its conjugate gradients in each epoch.

    The data are a ``TensorEntries``, whose one batch ``(places, values)`` has all entries to train on; every process
    takes the same step. Logged are ``train/rmse`` before the step, and ``mae`` and ``rmse`` under ``val/`` and
    ``test/``. Training that is taken up from a checkpoint takes its first step along the gradient.

    Args:
        model: The tensor.
    """

    def __init__(self, model: TensorCompletion) -> None:
        super().__init__()
        self.model = model
        self.residual = Residual()
        self.automatic_optimization = False

    def configure_optimizers(self) -> None:
        """Return none: the model steps by itself."""

    def setup(self, stage: str) -> None:
        """Refuse data of another shape, before anything is trained."""
        given = getattr(getattr(self.trainer, "datamodule", None), "shape", self.model.manifold.shape)
        if given != self.model.manifold.shape:
            raise ValueError(f"Completion: the model is of shape {self.model.manifold.shape}, but the data of {given}.")

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Take a step; the first of all starts from the zero-filled tensor."""
        places, values = batch
        if self.current_epoch == 0:
            self.model.start(places, values)
        self.log("train/rmse", self.model.step(places, values).float(), prog_bar=True)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Add the errors of a batch."""
        places, values = batch
        self.residual.update(self.model(places) - values)

    def on_validation_epoch_end(self) -> None:
        """Log the errors, over all processes."""
        stage = "test" if self.trainer.testing else "val"
        values = {f"{stage}/{key}": value.float() for key, value in self.residual.compute().items()}
        self.log_dict(values, prog_bar=True, sync_dist=True)
        self.residual.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end
