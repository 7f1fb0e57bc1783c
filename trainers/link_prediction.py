"""Train a network of a graph's nodes to tell which are joined."""

import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softsign
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import BinaryAUROC, BinaryAveragePrecision

from isometry.layers import FermiDirac
from isometry.trainers._configured import configured
from isometry.trainers._epoch_loss import EpochLoss

LinkBatch = tuple[Tensor, Tensor, Tensor, Tensor]


class LinkPrediction(pl.LightningModule):
    r"""Train a network that gives nodes points, so that joined ones are near: the logit of a link is ``(r - d^2)/t``.

    A batch is ``(x, edge_index, pairs [m, 2], joined [m])``, as ``LinkDataModule`` has it: ``model(x, edge_index)``
    gives a point of ``model.manifold`` to each node, and ``joined`` says of which pairs there is a link. Logged are
    ``train/loss``, the mean cross-entropy, and ``loss``, ``auc``, ``average_precision`` under ``val/`` and ``test/``.

    Args:
        model: The network, such as ``HGCN``.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianAdam, lr=1e-2)``.
        scheduler: Builds a schedule of the learning rate, stepped after every epoch, from the optimizer.
        decoder: Maps the squared distance to the logit; r = 2 and t = 1 by default.

    Source: Chami, Ying, Re & Leskovec 2019, Hyperbolic graph convolutional neural networks, equation 11.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        decoder: FermiDirac | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.decoder = FermiDirac() if decoder is None else decoder
        self.metrics = MetricCollection({"auc": BinaryAUROC(), "average_precision": BinaryAveragePrecision()})
        self.mean_loss = MeanMetric(nan_strategy=math.nan)  # NaN stays NaN, and is not left out
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._epoch_loss = EpochLoss()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer, spare the manifolds from its decay, and build the schedule."""
        return configured(self, self._optimizer, self._scheduler)

    def _logits_and_loss(self, batch: LinkBatch) -> tuple[Tensor, Tensor]:
        x, edge_index, pairs, joined = batch
        u, v = self.model(x, edge_index)[pairs].unbind(1)
        manifold: Any = self.model.manifold
        logits = self.decoder(manifold.dist2(u, v))
        return logits, binary_cross_entropy_with_logits(logits, joined.to(logits.dtype))

    def training_step(self, batch: LinkBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        _, loss = self._logits_and_loss(batch)
        self._epoch_loss.add(loss, len(batch[-1]))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all pairs."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: LinkBatch, batch_idx: int) -> None:
        """Give a batch's loss and logits to the metrics."""
        logits, loss = self._logits_and_loss(batch)
        self.mean_loss.update(loss, weight=len(logits))
        # The metrics need the order only, which the sigmoid's rounding to 0 would lose.
        self.metrics.update((1 + softsign(logits)) / 2, batch[-1].long())

    def on_validation_epoch_end(self) -> None:
        """Log what the metrics compute, the same on all processes."""
        stage = "test" if self.trainer.testing else "val"
        values = {"loss": self.mean_loss.compute(), **self.metrics.compute()}
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()}, prog_bar=True, sync_dist=True)
        self.mean_loss.reset()
        self.metrics.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the loss of the epoch so far."""
        self._epoch_loss.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's loss."""
        self._epoch_loss.load(checkpoint)
