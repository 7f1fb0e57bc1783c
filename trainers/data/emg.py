"""Gestures of a hand, from the electromyogram of the forearm."""

import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isometry.trainers.data.edge_list import existing_file
from isometry.trainers.data.installed import installed_file
from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.data.tensor_data import TensorDataModule

_GESTURES = ("rest", "rock", "paper", "scissors", "ok")
_HEADER = "time,c0,c1,c2,c3,c4,c5,c6,c7,label,exp"
_TRAIN, _TEST = "_s1", "_s2"


class EMG(TensorDataModule):
    """Windows of 8 electrodes, inputs ``[b, 8, window]``, while a hand rests or makes one of four gestures.

    Two persons have two sessions each, ``s1`` to train and ``s2`` to test. A session is six times the five gestures;
    the sixth time of ``s1`` is to validate. Windows do not overlap, and none is near a change of gesture.

    Args:
        path: A table with the header ``time,c0,...,c7,label,exp``; None takes that of the installed geomstats.
        window: Times of a window.
        margin: Times left out after and before a change of gesture.
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.

    Source: the data of geomstats, whose own tests cut them with this window and margin.
    """

    num_classes = len(_GESTURES)

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        window: int = 100,
        margin: int = 1000,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        if window < 2 or margin < 0:
            raise ValueError(f"EMG: expected window >= 2 and margin >= 0, but got {window} and {margin}.")
        self.path = path
        self.window = window
        self.margin = margin

    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        """Return windows and gestures, and the windows of each part."""
        path = self.path or installed_file(["geomstats"], "datasets/data/emg/emg.csv", "pip install geomstats")
        signals, gestures, sessions = _read_table(existing_file(path, f"a table with the header {_HEADER}"))
        changes = np.flatnonzero((gestures[1:] != gestures[:-1]) | (sessions[1:] != sessions[:-1])) + 1
        bounds = [0, *changes.tolist(), len(signals)]
        windows, labels, parts = [], [], []
        times: dict[tuple[str, str], int] = {}  # so many times a session has had a gesture
        for begin, end in pairwise(bounds):
            gesture, session = str(gestures[begin]), str(sessions[begin])
            times[session, gesture] = repetition = times.get((session, gesture), 0) + 1
            part = "test" if session.endswith(_TEST) else "val" if repetition == 6 else "train"
            inner = signals[begin + self.margin : end - self.margin]
            cut = inner[: len(inner) // self.window * self.window].unflatten(0, (-1, self.window)).mT
            windows.append(cut)
            labels += [_GESTURES.index(gesture)] * len(cut)
            parts += [part] * len(cut)
        rows = {part: torch.from_numpy(np.array(parts) == part) for part in ("train", "val", "test")}
        return (torch.cat(windows), torch.tensor(labels)), rows


def _read_table(path: Path) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Return signals [N, 8], and the gesture and the session at each time."""
    with path.open(encoding="utf-8") as file:
        if (header := file.readline().strip()) != _HEADER:
            raise ValueError(f"{path}:1: expected the header {_HEADER}, but got {header!r}.")
        try:
            table = np.loadtxt(file, delimiter=",", dtype=[("", "f4")] * 9 + [("label", "U8"), ("exp", "U8")])
        except ValueError as error:
            raise ValueError(f"{path}: expected nine numbers, a gesture and a session a line: {error}") from error
    if unknown := set(np.unique(table["label"]).tolist()) - set(_GESTURES):
        raise ValueError(f"{path}: expected the gestures {_GESTURES}, but got {sorted(unknown)}.")
    signals = torch.from_numpy(np.stack([table[f"f{i}"] for i in range(1, 9)], 1))
    return signals, table["label"], table["exp"]
