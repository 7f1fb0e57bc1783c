"""Train the embedding of a graph or hierarchy."""

from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import Metric

from isometry.manifolds import PoincareBall
from isometry.models import NodeEmbedding
from isometry.trainers._fused_ranking import FusedRankingStep
from isometry.trainers.losses import RankingLoss
from isometry.trainers.optim import RiemannianSGD

_FUSED_UPDATES_PER_BATCH = 8  # so that Lightning's cost per batch, as large as the step itself, is shared


class GraphEmbedding(pl.LightningModule):
    r"""Embed a graph's nodes so that a loss on distances is small.

    A training batch is an index tensor ``[b, m]`` (a node and those that it is compared with; see ``NodeEmbedding``),
    or a pair of it and the loss's target. A validation batch is a tensor of nodes, from which the distances to all
    nodes are given to ``metrics``.

    Args:
        model: The embedding.
        loss: Maps distances (and a target, if the batch has one) to a scalar.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianSGD, lr=1.0)``.
        metrics: Metrics that take rows of the distance matrix and compute a dictionary, such as ``Reconstruction``.
        burn_in_epochs: So many first epochs run at ``burn_in_factor`` times the rate, which settles the angles.
        burn_in_factor: See above.
        fused: Use the closed form of the step where there is one (a ``PoincareBall`` of fixed curvature,
            ``RankingLoss``, sparse rows, plain ``RiemannianSGD``, one process): the same numbers, several times faster.

    Source: Nickel & Kiela 2017, section 3.1.
    """

    def __init__(
        self,
        model: NodeEmbedding,
        loss: nn.Module,
        optimizer: Callable[[nn.Module], Optimizer],
        metrics: Sequence[Metric] = (),
        burn_in_epochs: int = 20,
        burn_in_factor: float = 0.01,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.metrics = nn.ModuleList(metrics)
        self.burn_in_epochs = burn_in_epochs
        self.burn_in_factor = burn_in_factor
        self.fused = fused
        self.updates_per_batch = 1
        self._optimizer = optimizer
        self._fused_step: FusedRankingStep | None = None
        self._loss_total = torch.zeros(())
        self._loss_steps = 0

    def setup(self, stage: str) -> None:
        """Refuse data of another size, before it is trained on."""
        data, nodes = getattr(self.trainer, "datamodule", None), self.model.nodes.num_embeddings
        if getattr(data, "num_nodes", nodes) != nodes:
            raise ValueError(
                f"GraphEmbedding: the model has {nodes} nodes, but the data {data.num_nodes}; build the model with "
                f"num_nodes={data.num_nodes}."
            )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer, its burn-in schedule and, where it applies, the fused step."""
        optimizer = self._optimizer(self)
        schedule = LambdaLR(optimizer, lambda epoch: self.burn_in_factor if epoch < self.burn_in_epochs else 1.0)
        self._fused_step = self._build_fused_step(optimizer)
        self.automatic_optimization = self._fused_step is None
        self.updates_per_batch = 1 if self._fused_step is None else _FUSED_UPDATES_PER_BATCH
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _build_fused_step(self, optimizer: Optimizer) -> FusedRankingStep | None:
        manifold = self.model.manifold
        plain_sgd = isinstance(optimizer, RiemannianSGD) and not any(
            group[key] for group in optimizer.param_groups for key in ("momentum", "weight_decay", "maximize")
        )
        applies = (
            self.fused
            and plain_sgd
            and type(self.loss) is RankingLoss
            and type(manifold) is PoincareBall
            and not manifold.learnable
            and self.model.nodes.sparse
            and self.trainer.world_size == 1
            and self.trainer.gradient_clip_val is None
            and self.trainer.accumulate_grad_batches == 1
        )
        return FusedRankingStep(self.model.nodes.weight, manifold) if applies else None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch (after having stepped, where the step is fused)."""
        if self._fused_step is None:
            index, *target = batch if isinstance(batch, tuple | list) else (batch,)
            loss = self.loss(self.model(index), *target)
        else:
            loss = self.optimizers().step(closure=lambda: self._fused_updates(batch))
        self._loss_total = self._loss_total + loss.detach()
        self._loss_steps += 1
        return loss

    def _fused_updates(self, batch: Tensor) -> Tensor:
        """Step through consecutive mini-batches ``[updates, b, m]``; return their mean loss."""
        rate = self.optimizers().param_groups[0]["lr"]
        losses = [self._fused_step(index, rate) for index in batch.view(-1, *batch.shape[-2:])]
        return torch.stack(losses).mean()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss; step the schedule where Lightning does not."""
        if self._loss_steps:
            self.log("train/loss", self._loss_total / self._loss_steps, prog_bar=True, sync_dist=True)
        self._loss_total, self._loss_steps = torch.zeros_like(self._loss_total), 0
        if self._fused_step is not None:
            self.lr_schedulers().step()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Give the rows of some nodes to the metrics."""
        distances = self.model.distances_from(batch)
        for metric in self.metrics:
            metric.update(batch, distances)

    def on_validation_epoch_end(self) -> None:
        """Log what the metrics compute."""
        for metric in self.metrics:
            values = metric.compute()
            self.log_dict({f"val/{name}": value.float() for name, value in values.items()}, prog_bar=True)
            metric.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end
