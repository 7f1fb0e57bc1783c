"""Train the embedding of a graph or hierarchy."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import Metric

from isometry.manifolds import PoincareBall
from isometry.models import NodeEmbedding
from isometry.trainers._epoch_loss import EpochLoss
from isometry.trainers._fused_ranking import FusedRankingStep
from isometry.trainers.losses import RankingLoss
from isometry.trainers.optim import RiemannianSGD

_FUSED_UPDATES_PER_BATCH = 32  # so that Lightning's cost for a batch, as large as that of some updates, is shared


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
        self._epoch_loss = EpochLoss()

    def setup(self, stage: str) -> None:
        """Refuse data of another size, and points that are not on the manifold, before anything is trained."""
        nodes = self.model.nodes.num_embeddings
        given = getattr(getattr(self.trainer, "datamodule", None), "num_nodes", nodes)
        if given != nodes:
            raise ValueError(
                f"GraphEmbedding: the model has {nodes} nodes, but the data {given}; build the model with "
                f"num_nodes={given}."
            )
        if not self.model.nodes.weight.is_meta:
            self.model.manifold.assert_check_point_on_manifold(self.model.nodes.weight.detach())

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
        index, *target = batch if isinstance(batch, tuple | list) else (batch,)
        if self._fused_step is None:
            loss = self.loss(self.model(index), *target)
        else:
            loss = cast(Any, self.optimizers()).step(closure=partial(self._fused_updates, self._fused_step, index))
            if self.trainer.is_last_batch:  # as early as Lightning does where it steps the schedule
                cast(Any, self.lr_schedulers()).step()
        self._epoch_loss.add(loss, index.shape[:-1].numel())
        return loss

    def _fused_updates(self, step: FusedRankingStep, batch: Tensor) -> Tensor:
        """Step through consecutive mini-batches ``[updates, b, m]``; return their mean loss."""
        rate = cast(Any, self.optimizers()).param_groups[0]["lr"]
        return torch.stack([step(index, rate) for index in batch.view(-1, *batch.shape[-2:])]).mean()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all rows."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Give the rows of some nodes to the metrics."""
        distances = self.model.distances_from(batch)
        for metric in cast(list[Metric], self.metrics):
            metric.update(batch, distances)

    def on_validation_epoch_end(self) -> None:
        """Log what the metrics compute, the same on all processes."""
        stage = "test" if self.trainer.testing else "val"
        for metric in cast(list[Metric], self.metrics):
            values = metric.compute()
            self.log_dict({f"{stage}/{k}": v.float() for k, v in values.items()}, prog_bar=True, sync_dist=True)
            metric.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the loss of the epoch so far."""
        self._epoch_loss.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's loss; refuse a checkpoint of another number of nodes."""
        nodes = self.model.nodes.num_embeddings
        saved = len(checkpoint["state_dict"].get("model.nodes.weight", self.model.nodes.weight))
        if saved != nodes:
            raise ValueError(
                f"GraphEmbedding: the model has {nodes} nodes, but the checkpoint {saved}; build the model with "
                f"num_nodes={saved}, or give the checkpoint of a run on this graph."
            )
        self._epoch_loss.load(checkpoint)
