"""Train a classifier."""

import math
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from isometry.manifolds import named_manifolds
from isometry.trainers._configured import configured
from isometry.trainers._epoch_loss import EpochLoss
from isometry.trainers.optim import clip_riemannian_grad_norm_

IGNORED = -100  # torch's label of what has none


class Classification(pl.LightningModule):
    r"""Train a model whose outputs are logits of classes, whatever its inputs, layers and parameters are.

    A batch is ``(*inputs, labels)``, labels ``[b]`` of int64, and ``model(*inputs)`` the logits ``[b, num_classes]``.
    A label -100 is none, as that of a graph's node in another part: torch's losses and the metrics leave it out.
    Where ``model.forward`` has a parameter ``target``, as ``MarginClassifier`` does, it gets the labels in training.
    Logged are ``train/loss``, the mean over an epoch's samples, and ``loss``, ``accuracy`` and ``balanced_accuracy``
    (the mean of the classes' recalls) under ``val/`` and ``test/``, over the samples of all processes.

    Parameters registered on a manifold stay there and take no weight decay; Lightning's ``gradient_clip_val`` is the
    largest Riemannian norm of the gradient.

    Args:
        model: The classifier.
        num_classes: Number of classes.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianAdam, lr=1e-2)``. Other
            rates for a part: ``lambda task: RiemannianAdam([{"params": task.model.body}, {"params": task.model.head,
            "lr": 0.1}], lr=1e-2)``.
        scheduler: Builds a schedule of the learning rate, stepped after every epoch, from the optimizer.
        loss: Maps logits and labels to the mean over samples; cross entropy by default. Label smoothing is the loss's,
            such as ``nn.CrossEntropyLoss(label_smoothing=0.1)``.
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        loss: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"Classification: expected at least two classes, but got num_classes={num_classes}.")
        self.model = model
        self.num_classes = num_classes
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro", ignore_index=IGNORED),
                "balanced_accuracy": MulticlassAccuracy(num_classes, average="macro", ignore_index=IGNORED),
            }
        )
        self.mean_loss = MeanMetric(nan_strategy=math.nan)  # NaN stays NaN, and is not left out
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._takes_target = "target" in signature(model.forward).parameters
        self._epoch_loss = EpochLoss()

    def setup(self, stage: str) -> None:
        """Refuse data of other classes, and points that are not on their manifold, before anything is trained."""
        given = getattr(getattr(self.trainer, "datamodule", None), "num_classes", self.num_classes)
        if given != self.num_classes:
            raise ValueError(
                f"Classification: num_classes is {self.num_classes}, but the data have {given} classes; build this and "
                f"the model with num_classes={given}."
            )
        for name, manifold in named_manifolds(self).items():
            manifold.assert_check_point_on_manifold(self.get_parameter(name).detach())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer, spare the manifolds from its decay, and build the schedule."""
        return configured(self, self._optimizer, self._scheduler)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by the Riemannian norm; there is no clipping by value, which depends on the coordinates."""
        if gradient_clip_algorithm not in (None, "norm"):
            raise ValueError(
                f"Classification: expected gradient_clip_algorithm 'norm', but got {gradient_clip_algorithm}."
            )
        if gradient_clip_val is not None:
            clip_riemannian_grad_norm_(self, gradient_clip_val)

    def _logits_and_loss(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        *inputs, labels = batch
        logits = self.model(*inputs, target=labels) if self._takes_target and self.training else self.model(*inputs)
        if logits.shape != (expected := (len(labels), self.num_classes)):
            raise ValueError(
                f"Classification: expected logits {list(expected)}, but the model returns {list(logits.shape)}."
            )
        return logits, self.loss(logits, labels)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        _, loss = self._logits_and_loss(batch)
        self._epoch_loss.add(loss, (batch[-1] != IGNORED).sum())
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all samples."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Give a batch's loss and logits to the metrics."""
        logits, loss = self._logits_and_loss(batch)
        self.mean_loss.update(loss, weight=(batch[-1] != IGNORED).sum())
        self.metrics.update(logits, batch[-1])

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
