"""Train a model of a knowledge graph to complete facts."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from isometry.trainers._configured import configured
from isometry.trainers._epoch_loss import EpochLoss
from isometry.trainers.metrics import LinkRanking

_EVALUATED_SCORES = 2**20  # at a time; bounds memory, and the processor's cache holds them


class KGCompletion(pl.LightningModule):
    r"""Train scores of facts by cross-entropy: the right tail of ``(head, relation, ?)`` among candidates.

    A training batch is ``(head [b], relation [b], candidates [m], target [b])``, as ``KnowledgeGraph`` has it:
    ``model(head, relation, candidates)`` gives the scores ``[b, m]``, and ``target`` says which is right. A validation
    batch is ``(head, relation, tail, known)``. Logged are ``train/loss``, and ``mrr``, ``hits@1``, ``hits@3`` and
    ``hits@10`` of the filtered ranks among all entities, under ``val/`` and ``test/``.

    Args:
        model: The scores, such as ``KGEmbedding``, with attributes ``num_entities`` and ``num_relations``.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianAdam, lr=1e-2)``.
        scheduler: Builds a schedule of the learning rate, stepped after every epoch, from the optimizer.

    Source: Joulin, Grave, Bojanowski & Mikolov 2017; Lacroix, Usunier & Obozinski 2018 (cross-entropy).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.metric = LinkRanking()
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._epoch_loss = EpochLoss()

    def setup(self, stage: str) -> None:
        """Refuse data of another size before anything is trained."""
        data = getattr(self.trainer, "datamodule", None)
        for name in ("num_entities", "num_relations"):
            mine = getattr(self.model, name)
            if (given := getattr(data, name, mine)) != mine:
                raise ValueError(
                    f"KGCompletion: the model has {name}={mine}, but the data {given}; build the model with "
                    f"{name}={given}."
                )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer, spare the manifolds from its decay, and build the schedule."""
        return configured(self, self._optimizer, self._scheduler)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        head, relation, candidates, target = batch
        loss = cross_entropy(self.model(head, relation, candidates), target)
        self._epoch_loss.add(loss, len(head))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all queries."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Rank all entities for each query."""
        head, relation, tail, known = batch
        entities = torch.arange(self.model.num_entities, device=head.device)
        chunks = entities.split(max(1, _EVALUATED_SCORES // max(1, len(head))))
        scores = torch.cat([self.model(head, relation, chunk) for chunk in chunks], 1)
        self.metric.update(scores, tail, known)

    def on_validation_epoch_end(self) -> None:
        """Log what the metric computes, the same on all processes."""
        stage = "test" if self.trainer.testing else "val"
        values = {f"{stage}/{name}": value.float() for name, value in self.metric.compute().items()}
        self.log_dict(values, prog_bar=True, sync_dist=True)
        self.metric.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the loss of the epoch so far."""
        self._epoch_loss.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's loss."""
        self._epoch_loss.load(checkpoint)
