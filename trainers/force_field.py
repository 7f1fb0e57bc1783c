"""Train an interatomic potential."""

import math
from collections.abc import Callable
from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch_geometric.data import Batch
from torchmetrics import MeanMetric

from isometry.models import Potential
from isometry.models._atomistic import arguments_of
from isometry.trainers._epoch_loss import EpochLoss
from isometry.trainers.metrics.residual import Residual

_QUANTITIES = ("energy", "forces", "stress")


class ForceField(pl.LightningModule):
    r"""Fit a potential to energies, forces and stresses.

    .. math:: L = \frac{1}{B} \sum_b \Bigl[ w_E \Bigl(\frac{\Delta E_b}{N_b}\Bigr)^2
        + \frac{w_F}{3 N_b} \sum_{i \in b} |\Delta F_i|^2 + \frac{w_S}{9} |\Delta\sigma_b|^2 \Bigr]

    A batch is a PyG ``Batch`` with ``energy [B]``, and ``forces [N, 3]`` and ``stress [B, 3, 3]`` where they have a
    weight, as ``AtomsDataModule`` gives it. As a mean over structures, the loss of several processes is that of one.

    Before training the potential takes the reference energies and the scale of the training data. In validation
    and tests, ``energy_mae`` and ``energy_rmse`` (for each atom, in the unit of the energy), and the same of
    ``forces`` and ``stress`` (of their components) are logged under ``val/`` and ``test/``, over all processes.

    Args:
        potential: The potential.
        optimizer: Builds the optimizer from the module, such as ``functools.partial(RiemannianAdam, lr=1e-3)``.
        scheduler: Builds a schedule of the learning rate, stepped after every epoch, from the optimizer.
        energy_weight: w_E, 0 or more, in the unit of 1 / energy^2.
        forces_weight: w_F, 0 or more.
        stress_weight: w_S, 0 or more; needs a potential with ``stress=True``.
        normalize: Take reference energies and scale from the data module's ``normalization`` when fitting starts.

    Raises:
        ValueError: If a weight is negative, all are 0, or the potential does not give what has a weight.

    Source: Batzner et al. 2022, NequIP (squared errors of energies and forces).
    """

    def __init__(
        self,
        potential: Potential,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        energy_weight: float = 10.0,
        forces_weight: float = 1.0,
        stress_weight: float = 0.0,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.weights = dict(zip(_QUANTITIES, (energy_weight, forces_weight, stress_weight), strict=True))
        given = {"energy": True, "forces": potential.forces is not None, "stress": potential.stress}
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise ValueError(
                f"ForceField: expected weights of 0 or more, one of them positive, but got {self.weights}."
            )
        if wrong := [name for name, weight in self.weights.items() if weight and not given[name]]:
            raise ValueError(
                f"ForceField: {wrong} have a weight, but the potential has forces={potential.forces!r} and "
                f"stress={potential.stress}; build it with them, or set the weight to 0."
            )
        self.potential = potential
        self.normalize = normalize
        self.metrics = nn.ModuleDict({name: Residual() for name in _QUANTITIES if given[name]})
        self.mean_loss = MeanMetric(nan_strategy=math.nan)  # NaN stays NaN, and is not left out
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._epoch_loss = EpochLoss()

    def setup(self, stage: str) -> None:
        """Refuse data of another cutoff, and normalize the potential by the training data."""
        data: Any = getattr(self.trainer, "datamodule", None)
        cutoff = self.potential.network.cutoff
        if (given := getattr(data, "cutoff", cutoff)) != cutoff:
            raise ValueError(
                f"ForceField: the network's cutoff is {cutoff}, but that of the data {given}; give the same."
            )
        if stage == "fit" and self.normalize:
            if not hasattr(data, "normalization"):
                raise ValueError(
                    "ForceField: expected a data module with a `normalization`, such as AtomsDataModule; else give the "
                    "potential its reference energies and scale, and normalize=False."
                )
            # A species that is not trained on keeps the energy that it was given.
            references, scale = data.normalization
            self.potential.normalize_(self.potential.reference_energies | references, scale)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and the schedule."""
        optimizer = self._optimizer(self)
        if self._scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._scheduler(optimizer)}

    def _loss_and_errors(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and predictions minus labels, that of the energy for each atom."""
        predicted = self.potential(**arguments_of(batch))
        if missing := [name for name, weight in self.weights.items() if weight and name not in batch]:
            raise ValueError(
                f"ForceField: {missing} have a weight, but the batch has only {batch.keys()}; name the labels in "
                "AtomsDataModule, or set the weight to 0."
            )
        atoms = batch.batch.bincount(minlength=batch.num_graphs)
        errors = {name: value - batch[name] for name, value in predicted.items() if name in batch}
        if "energy" in errors:
            errors["energy"] = errors["energy"] / atoms
        loss = 0 * predicted["energy"].sum()  # gives every parameter a gradient, as DDP demands, whatever the weights
        for name, error in errors.items():
            mean = error.square().flatten(1).mean(1) if error.ndim > 1 else error.square()
            if name == "forces":
                mean = mean / atoms[batch.batch]
            loss = loss + self.weights[name] * mean.sum() / batch.num_graphs
        return loss, errors

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss, _ = self._loss_and_errors(batch)
        self._epoch_loss.add(loss, batch.num_graphs)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss over all structures."""
        self._epoch_loss.log(self)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Give a batch's loss and errors to the metrics."""
        loss, errors = self._loss_and_errors(batch)
        self.mean_loss.update(loss, weight=batch.num_graphs)
        for name, error in errors.items():
            cast(Residual, self.metrics[name]).update(error)

    def on_validation_epoch_end(self) -> None:
        """Log what the metrics compute, the same on all processes."""
        stage = "test" if self.trainer.testing else "val"
        values = {"loss": self.mean_loss.compute()}
        for name, metric in self.metrics.items():
            values |= {f"{name}_{key}": value for key, value in cast(Residual, metric).compute().items()}
            cast(Residual, metric).reset()
        self.mean_loss.reset()
        self.log_dict({f"{stage}/{key}": value.float() for key, value in values.items()}, prog_bar=True, sync_dist=True)

    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the loss of the epoch so far."""
        self._epoch_loss.save(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the epoch's loss."""
        self._epoch_loss.load(checkpoint)
