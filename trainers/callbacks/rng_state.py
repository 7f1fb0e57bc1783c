"""The state of the random generators, as a part of the checkpoint."""

import random
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn


class RNGState(Callback):
    """Save and restore every rank's generators (torch, its GPU's, numpy, Python): a resumed run draws the same numbers.

    With a loader that has ``state_dict`` and ``load_state_dict``, interrupted and resumed equals uninterrupted, in the
    middle of an epoch too; with any loader, at the end of an epoch. Checkpoints hold plain data.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return all ranks' generators; the ranks have to call this together, as ``save_checkpoint`` does."""
        ranks: list[Any] = [_capture()]
        if dist.is_available() and dist.is_initialized():
            ranks *= dist.get_world_size()
            dist.all_gather_object(ranks, ranks[0])
        return {"ranks": ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the generators of this rank, before the loader starts an epoch."""
        ranks = state_dict["ranks"]
        initialized = dist.is_available() and dist.is_initialized()
        rank, world_size = (dist.get_rank(), dist.get_world_size()) if initialized else (0, 1)
        if len(ranks) != world_size:
            rank_zero_warn(
                f"RNGState: the checkpoint has the generators of {len(ranks)} processes, but this run has "
                f"{world_size}: they start from this run's seed, and not where the interrupted run was."
            )
            return
        self._loaded = ranks[rank]
        _restore(self._loaded)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore again in the middle of an epoch, where the uninterrupted run did not start the loader anew."""
        fit = trainer.fit_loop
        if self._loaded and fit.restarted_mid_epoch and not fit.epoch_loop.batch_progress.is_last_batch:
            _restore(self._loaded)
        self._loaded = None


def _capture() -> dict[str, Any]:
    numpy = np.random.get_state(legacy=False)
    keys = torch.from_numpy(numpy["state"]["key"].astype(np.int64))  # a tensor: arrays need weights_only=False
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": {**numpy, "state": {**numpy["state"], "key": keys}},
        "python": random.getstate(),
    }


def _restore(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    numpy = state["numpy"]
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].numpy().astype(np.uint32)}})
    random.setstate(state["python"])
