"""A guard against gradients that are not finite."""

import math
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer


class NaNGuard(Callback):
    """Skip a step whose gradient is not finite, on all ranks together; stop after too many in a row.

    A step that a module takes by itself (manual optimization, as ``GraphEmbedding``'s fused one) cannot be skipped:
    there the loss is checked, and the first that is not finite stops training.

    ``skipped`` counts the skipped steps. Each check waits once for the device.

    Args:
        patience: So many skipped steps in a row raise an error.

    Raises:
        FloatingPointError: ``patience`` steps in a row were skipped, or a loss in manual optimization is not finite.
    """

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise ValueError(f"NaNGuard: expected a patience of at least 1 step, but got {patience}.")
        self.patience = patience
        self.skipped = 0
        self.in_a_row = 0

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Drop the gradients of all ranks if one is not finite on any."""
        if not pl_module.automatic_optimization:
            return
        finite = _all_finite([p.grad for group in optimizer.param_groups for p in group["params"]])
        if trainer.strategy.reduce_boolean_decision(finite, all=True):
            self.in_a_row = 0
            return
        self.skipped += 1
        self.in_a_row += 1
        names = [name for name, p in pl_module.named_parameters() if not _all_finite([p.grad])]
        where = (
            f"the gradient of {', '.join(names)} is not finite" if names else "a gradient of another rank is not finite"
        )
        if self.in_a_row >= self.patience:
            raise FloatingPointError(
                f"NaNGuard: {self.in_a_row} steps in a row were skipped, the last one (step {trainer.global_step}) "
                f"because {where}. Lower the learning rate, clip the gradient, or check the data."
            )
        rank_zero_warn(f"NaNGuard: skipped step {trainer.global_step}: {where}.")
        optimizer.zero_grad(set_to_none=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after a step of manual optimization whose loss is not finite."""
        if pl_module.automatic_optimization or not outputs:
            return
        finite = bool(torch.isfinite(outputs["loss"]).all())
        if not trainer.strategy.reduce_boolean_decision(finite, all=True):
            names = [name for name, p in pl_module.named_parameters() if not torch.isfinite(p).all()]
            raise FloatingPointError(
                f"NaNGuard: the loss of step {trainer.global_step - 1} is not finite; parameters with values "
                f"that are not finite: {', '.join(names) or 'none'}. Resume from the last checkpoint "
                "with a lower learning rate."
            )

    def state_dict(self) -> dict[str, int]:
        """Return the counts."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the counts."""
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]


def _all_finite(gradients: list[Tensor | None]) -> bool:
    """Return whether the largest entry is finite (a sum of squares might overflow where no entry does)."""
    # An uncoalesced sparse gradient has no public access to its values.
    values = [g._values() if g.is_sparse else g for g in gradients if g is not None]
    return bool(torch.isfinite(torch.nn.utils.get_total_norm(values, norm_type=math.inf)))
