"""A watch on the ranks of low-rank tensors."""

from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from isometry.manifolds.low_rank import LowRankParameter, named_low_rank
from isometry.manifolds.low_rank._linalg import unfold
from isometry.trainers.callbacks._figure import publish


class LowRankMonitor(Callback):
    """Log ranks, parameter counts and spectra of low-rank tensors at the end of every epoch, draw them, and warn.

    Logged are ``rank/<name>/<k>`` of each tensor, ``parameters/<name>`` (of the present ranks), ``parameters/all`` of
    the model, and ``condition/<name>``, the largest over the smallest singular value of the core. ``history`` has all
    of it, with the spectra. At the end of training the picture ``low_rank.png`` goes to the logger's folder (else the
    trainer's) and to every logger that takes pictures.

    Two things go wrong in silence, and are warned of. A tolerance relative to a spectrum that falls off from the
    beginning cuts most of the rank in the first steps, and it does not come back. And a tolerance that nothing
    exceeds, or that every new direction is below, leaves the ranks as they were.

    Args:
        patience: Epochs without any change of ranks, from the first one, after which a rank-adaptive run is warned of.

    Raises:
        ValueError: The module has no low-rank tensors.
    """

    def __init__(self, patience: int = 5) -> None:
        self.patience = patience
        self.history: list[dict[str, dict[str, Any]]] = []
        self._last: dict[str, tuple[int, ...]] = {}
        self._cut = self._changed = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the first ranks."""
        self._last = {name: tensor.ranks for name, tensor in named_low_rank(pl_module).items()}
        if not self._last:
            raise ValueError(
                "LowRankMonitor: expected a module with low-rank tensors (register_low_rank), but found none."
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare the ranks with those before, until a truncation has cut some."""
        if self._cut:
            return
        now = {name: tensor.ranks for name, tensor in named_low_rank(pl_module).items()}
        self._changed = self._changed or now != self._last
        for name, ranks in now.items():
            before = self._last[name]
            self._cut = self._cut or any(r < b for r, b in zip(ranks, before, strict=True))
            if any(2 * r < b for r, b in zip(ranks, before, strict=True)):
                rank_zero_warn(
                    f"LowRankMonitor: the first truncation cut {name} from ranks {before} to {ranks}, and ranks that "
                    "fall so early do not come back. Lower tol, or start with a flat spectrum (a new layer instead of "
                    "from_dense)."
                )
        self._last = now

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the state, and warn if nothing adapts."""
        tensors = named_low_rank(pl_module)
        state = {name: _state(tensor) for name, tensor in tensors.items()}
        self.history.append(state)
        room = sum(p.numel() for tensor in tensors.values() for p in tensor.parameters)
        dense = sum(p.numel() for p in pl_module.parameters()) - room
        for name, entry in state.items():
            pl_module.log_dict({f"rank/{name}/{k}": float(r) for k, r in enumerate(entry["ranks"])})
            pl_module.log(f"parameters/{name}", float(entry["parameters"]))
            pl_module.log(f"condition/{name}", entry["condition"])
        pl_module.log("parameters/all", float(dense + sum(entry["parameters"] for entry in state.values())))
        if len(self.history) == self.patience:
            self._warn_of_no_change(trainer)

    def _warn_of_no_change(self, trainer: Trainer) -> None:
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if any(group.get("tol") is not None for group in groups) and not self._changed:
            rank_zero_warn(
                f"LowRankMonitor: a tol is given, but no rank has changed in {len(self.history)} epochs. Raise tol for "
                "ranks to fall; for ranks to grow lower it below the size of a step, raise the learning rate, or give "
                "the layers a larger max_rank."
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the history; warn if a run shorter than the patience has not adapted."""
        if len(self.history) < self.patience:
            self._warn_of_no_change(trainer)
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # log_dir is a collective operation
        if trainer.is_global_zero and self.history:
            publish(trainer, folder, _picture(self.history), "low_rank", "low_rank.png")

    def state_dict(self) -> dict[str, Any]:
        """Return the history and what was seen."""
        return {"history": self.history, "cut": self._cut, "changed": self._changed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the history and what was seen."""
        self.history = state_dict["history"]
        self._cut, self._changed = state_dict["cut"], state_dict["changed"]


@torch.no_grad()
def _state(tensor: LowRankParameter) -> dict[str, Any]:
    """Return ranks, number of parameters, spectrum of each unfolding of the core, and the worst condition."""
    m, x = tensor.manifold, tensor.point()
    core, d = m.leaves(x)[m.core], len(m.leaf_shapes(1)[m.core])
    modes = range(d) if d == len(tensor.ranks) > 2 else range(1)  # of a matrix both are the same; of a train the bond
    spectra = [_mean_spectrum(unfold(core.detach().float(), k, d)) for k in modes]
    condition = max(float(s[0] / s[-1]) if s[-1] > 0 else torch.inf for s in spectra)
    return {
        "ranks": tensor.ranks,
        "parameters": m.num_parameters(tensor.ranks),
        "spectra": [s.tolist() for s in spectra],
        "condition": condition,
    }


def _mean_spectrum(a: Tensor) -> Tensor:
    """Return the singular values, their mean over a batch."""
    s = torch.linalg.svdvals(a)
    return s.reshape(-1, s.shape[-1]).mean(0)


def _picture(history: list[dict[str, dict[str, Any]]]) -> Figure:
    """Return the ranks and the parameter counts by epoch, and the last spectra."""
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    epochs = range(1, len(history) + 1)
    for name in history[-1]:
        entries = [state[name] for state in history]
        (line,) = left.plot(epochs, [max(e["ranks"]) for e in entries], marker=".", label=name)
        middle.plot(epochs, [e["parameters"] for e in entries], marker=".", color=line.get_color())
        for spectrum in entries[-1]["spectra"]:
            right.semilogy(range(1, len(spectrum) + 1), spectrum, marker=".", color=line.get_color())
    left.set(title="Largest rank", xlabel="epoch")
    left.legend(fontsize="small")
    middle.set(title="Parameters", xlabel="epoch", yscale="log")
    right.set(title="Singular values of the core, last epoch", xlabel="index")
    return figure
