"""The optimizer of a task, built and checked."""

from collections.abc import Callable

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from isometry.manifolds import named_manifolds
from isometry.trainers.optim import LowRankOptimizer
from isometry.trainers.optim._riemannian import RiemannianOptimizer
from isometry.trainers.optim.decay import spare_manifolds_from_decay


def configured(
    task: pl.LightningModule,
    build_optimizer: Callable[[nn.Module], Optimizer],
    build_scheduler: Callable[[Optimizer], LRScheduler] | None,
) -> OptimizerLRScheduler:
    """Build the optimizer, spare the manifolds from its decay, and build the schedule.

    Raises:
        TypeError: If a parameter would leave its manifold.
    """
    optimizer = build_optimizer(task)
    if (manifolds := named_manifolds(task)) and not isinstance(optimizer, RiemannianOptimizer | LowRankOptimizer):
        raise TypeError(
            f"{type(task).__name__}: {', '.join(manifolds)} would leave their manifolds under "
            f"{type(optimizer).__name__}; give an optimizer of isometry.trainers.optim."
        )
    spare_manifolds_from_decay(optimizer, task)
    if build_scheduler is None:
        return optimizer
    return {"optimizer": optimizer, "lr_scheduler": build_scheduler(optimizer)}
