"""Train split invariant and equivariant representations, without labels."""

import math
from collections.abc import Callable
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from isometry.models import SIE
from isometry.trainers._configured import configured
from isometry.trainers._epoch_loss import EpochLoss
from isometry.trainers.losses import SIELoss
from isometry.trainers.metrics import ClassProbe, PairProbe

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""First views, second views, what leads from each first one to the second one, and classes to evaluate."""


class SIEPretraining(pl.LightningModule):
    r"""Train ``SIE`` on pairs of views and what leads from one to the other; classes are only used to evaluate.

    A batch is ``(x, y, z, labels)``. Logged are ``train/loss``, the mean over an epoch's pairs, and under ``val/`` and
    ``test/`` the ``loss``, and of both the ``invariant`` and the ``equivariant`` features, not of the embeddings, what
    a regression reads from them: ``.../accuracy`` of the classes (``ClassProbe``) and ``.../r2`` of z (``PairProbe``).
    A split that works has the first in the one half and the second in the other.

    Args:
        model: The network.
        num_classes: Number of classes.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianAdam, lr=1e-3)``.
        scheduler: Builds a schedule of the learning rate, stepped after every epoch, from the optimizer.
        loss: Maps the ``SplitViews`` of a batch to a number; ``SIELoss()`` by default.

    Source: Garrido, Najman & LeCun 2023, Self-supervised learning of split invariant equivariant representations.
    """

    def __init__(
        self,
        model: SIE,
        num_classes: int,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        loss: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = SIELoss() if loss is None else loss
        self.class_probes = nn.ModuleDict({part: ClassProbe(num_classes) for part in ("invariant", "equivariant")})
        self.pair_probes = nn.ModuleDict({part: PairProbe() for part in ("invariant", "equivariant")})
        self.mean_loss = MeanMetric(nan_strategy=math.nan)  # NaN stays NaN, and is not left out
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._epoch_loss = EpochLoss()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer, spare the manifolds from its decay, and build the schedule."""
        return configured(self, self._optimizer, self._scheduler)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        x, y, z, _ = batch
        loss = self.loss(self.model(x, y, z))
        self._epoch_loss.add(loss, len(x))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all pairs."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Give a batch's loss and features to the metrics."""
        x, y, z, labels = batch
        self.mean_loss.update(self.loss(self.model(x, y, z)), weight=len(x))
        parts = zip(("invariant", "equivariant"), self.model.features(x), self.model.features(y), strict=True)
        for part, of_x, of_y in parts:
            cast(ClassProbe, self.class_probes[part]).update(of_x, labels)
            cast(PairProbe, self.pair_probes[part]).update(of_x, of_y, z)

    def on_validation_epoch_end(self) -> None:
        """Log what the metrics compute, the same on all processes."""
        stage = "test" if self.trainer.testing else "val"
        values: dict[str, Any] = {"loss": self.mean_loss}
        values |= {f"{part}/accuracy": probe for part, probe in self.class_probes.items()}
        values |= {f"{part}/r2": probe for part, probe in self.pair_probes.items()}
        self.log_dict({f"{stage}/{name}": metric.compute().float() for name, metric in values.items()}, sync_dist=True)
        for metric in values.values():
            metric.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the loss of the epoch so far."""
        self._epoch_loss.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's loss."""
        self._epoch_loss.load(checkpoint)
