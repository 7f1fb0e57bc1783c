"""MAMEM SSVEP dataset II: which of five flickering lights a person looks at, from the electroencephalogram."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from isometry.trainers.data.archive import read_arrays
from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.data.tensor_data import TensorDataModule

_SOURCE = (
    "a subject of the MAMEM SSVEP dataset II. Published as U001.mat to U011.mat at github.com/jjscc/GBWBN, "
    "GBWBN_SPDNet/experiments/data/MAMEM; with m = scipy.io.loadmat('U001.mat'), numpy.savez('U001.npz', "
    "x=m['x_test'], y=m['y_test'].ravel()) makes the archive"
)


class MAMEM(TensorDataModule):
    """The recordings of one subject: inputs ``[b, 8, 125]``, one second of 8 electrodes at 125 Hz; 5 classes.

    Split in the order of recording: the first 300 to train, the next 100 to validate, the last 100 to test (sessions 1
    to 3, 4, and 5). Trials were cut into four segments, which follow each other: a random split would have segments of
    a test trial among those trained on.

    Args:
        folder: Of the archives ``U001.npz``, ..., with ``x [500, 8, 125]`` and ``y [500]``.
        subject: Number of the subject, from 1.
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.

    Source: Nikolopoulos 2016 (data, ODC-By 1.0); Pan et al. 2022, MAtt (segments and split).
    """

    num_classes = 5

    def __init__(self, folder: str | os.PathLike[str], subject: int, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        self.folder = Path(folder)
        self.subject = subject

    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        """Return the signals, in the amplifier's unit, and labels."""
        path = self.folder / f"U{self.subject:03d}.npz"
        arrays = read_arrays(path, {"x": (500, 8, 125), "y": (500,)}, _SOURCE)
        x, y = torch.from_numpy(arrays["x"]).float(), torch.from_numpy(arrays["y"]).long()
        return (x, y), {"train": slice(0, 300), "val": slice(300, 400), "test": slice(400, 500)}
