"""Train a function to solve a differential equation."""

from collections.abc import Callable, Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import SumMetric

from isometry.trainers._configured import configured
from isometry.trainers._epoch_loss import EpochLoss

Residual = Callable[[nn.Module, Tensor], Tensor]


class PhysicsInformed(pl.LightningModule):
    r"""Fit ``u = model(x)`` to an equation ``residual(u, x) = 0`` at random points, those of ``Collocation``.

    For Poisson's equation ``Delta u = f``, ``residual = lambda u, x: laplacian(u, x, ...) - f(x)``; on a manifold with
    ``laplace_beltrami``. A boundary condition is best built into the model, as by the factor ``1 - |x|^2``; a penalty
    is one more component of the residual ``[b]`` or ``[b, m]``.

    An estimated residual r has a variance, which ``mean r^2`` would have the model lower, too. With ``unbiased`` the
    loss is ``mean r r'`` of two independent estimates, in expectation the square of the exact residual.

    Logged are ``train/loss`` and, where the solution is known, ``relative_error = |u - solution| / |solution|`` (root
    mean squares over the points) under ``val/`` and ``test/``, over all processes.

    Args:
        model: The function u.
        residual: Maps the model and points to what is to vanish.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianAdam, lr=1e-3)``.
        scheduler: Builds a schedule of the learning rate, stepped after every epoch, from the optimizer.
        unbiased: Whether the loss is a product of two estimates.

    Source: Raissi, Perdikaris & Karniadakis 2019; Hu, Shi, Karniadakis & Kawaguchi 2024 for the two estimates.
    """

    def __init__(
        self,
        model: nn.Module,
        residual: Residual,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        unbiased: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.residual = residual
        self.unbiased = unbiased
        self.error, self.solution = SumMetric(), SumMetric()
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._epoch_loss = EpochLoss()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and the schedule."""
        return configured(self, self._optimizer, self._scheduler)

    def _residual(self, x: Tensor) -> Tensor:
        values = self.residual(self.model, x)
        if values.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"PhysicsInformed: expected a residual for each of the {len(x)} points, but got {list(values.shape)}."
            )
        return values

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        (x,) = batch
        first = self._residual(x)
        loss = (first * (self._residual(x) if self.unbiased else first)).mean()
        self._epoch_loss.add(loss, len(x))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all points."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Add a batch's squared errors."""
        x, solution = batch
        values = self.model(x)
        if values.shape != solution.shape:  # which a difference might broadcast in silence
            raise ValueError(
                f"PhysicsInformed: expected values {list(solution.shape)}, but the model returns {list(values.shape)}."
            )
        self.error.update((values - solution).double().square().sum())
        self.solution.update(solution.double().square().sum())

    def on_validation_epoch_end(self) -> None:
        """Log the relative error, the same on all processes."""
        stage = "test" if self.trainer.testing else "val"
        relative = torch.as_tensor(self.error.compute() / self.solution.compute()).sqrt()
        self.log(f"{stage}/relative_error", relative, prog_bar=True, sync_dist=True)
        self.error.reset()
        self.solution.reset()

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end
