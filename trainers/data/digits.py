"""Scikit-learn's handwritten digits."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from isometry.trainers.data.installed import installed_file
from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.data.tensor_data import TensorDataModule


class Digits(TensorDataModule):
    """1,797 handwritten digits, inputs ``[b, 1, 8, 8]`` in [0, 1].

    Split in the order of the file, in which a person's digits follow each other: the first 1,077 to train, the next 360
    to validate, the last 360 to test.

    Args:
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.

    Source: Alpaydin & Kaynak 1998, the test part of the optical recognition data of UCI, from the installed
    scikit-learn.
    """

    num_classes = 10

    def __init__(self, batch_size: int = 64, seed: int = 0) -> None:
        super().__init__(batch_size, seed)

    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        """Return images and digits."""
        path = installed_file(["sklearn"], "datasets/data/digits.csv.gz", "pip install scikit-learn")
        table = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype=np.int64))
        images = table[:, :64].view(-1, 1, 8, 8) / 16
        rows = {"train": slice(0, 1077), "val": slice(1077, 1437), "test": slice(1437, None)}
        return (images, table[:, 64]), rows
