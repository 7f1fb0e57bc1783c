"""Some entries of a tensor, the others to be found."""

import os
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isometry.trainers.data.edge_list import existing_file
from isometry.trainers.data.process_share import SharedDataModule
from isometry.trainers.data.sample_batches import OrderedSamples

Entries = tuple[Tensor, Tensor]
"""Places ``[k, d]`` (int64) and values ``[k]``."""


class TensorEntries(SharedDataModule, ABC):
    """Entries of one tensor in three parts, ``train``, ``val`` and ``test``; a batch is ``(places, values)``.

    The batch to train on has all of its part, as a solver takes it, in every process.

    Args:
        val_share: Share of the training entries that are held out to validate, in [0, 1).
        seed: Of which.

    Raises:
        ValueError: ``val_share`` is out of range.
    """

    def __init__(self, val_share: float, seed: int) -> None:
        super().__init__()
        if not 0 <= val_share < 1:
            raise ValueError(f"{type(self).__name__}: expected val_share in [0, 1), but got {val_share}.")
        self.val_share, self.seed = val_share, seed

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""

    @abstractmethod
    def read(self) -> tuple[Entries, Entries]:
        """Return the entries to train on, and those to test."""

    @cached_property
    def parts(self) -> dict[str, Entries]:
        """The entries of the three parts.

        Raises:
            ValueError: Places are outside of the tensor, or values are not finite.
        """
        train, test = self.read()
        for places, values in (train, test):
            if (places < 0).any() or (places >= places.new_tensor(self.shape)).any() or not values.isfinite().all():
                raise ValueError(
                    f"{type(self).__name__}: expected finite values at places in {self.shape}, but some are not."
                )
        order = torch.randperm(len(train[1]), generator=torch.Generator().manual_seed(self.seed))
        held, kept = order.split([size := int(self.val_share * len(order)), len(order) - size])
        rows = {"train": kept, "val": held}
        return {name: (train[0][which], train[1][which]) for name, which in rows.items()} | {"test": test}

    def setup(self, stage: str) -> None:
        """Read the entries, or fail, before anything is trained."""
        _ = self.parts

    def train_dataloader(self) -> OrderedSamples:
        """Return one batch of all training entries."""
        entries = self.parts["train"]
        return OrderedSamples(entries, len(entries[1]))

    def val_dataloader(self) -> OrderedSamples | list[Entries]:
        """Return this process's share of the entries to validate."""
        return self._ordered("val")

    def test_dataloader(self) -> OrderedSamples | list[Entries]:
        """Return this process's share of the entries to test."""
        return self._ordered("test")

    def _ordered(self, part: str) -> OrderedSamples | list[Entries]:
        entries = self.parts[part]
        world_size = self.share.get("world_size", 1)
        batch_size = -(-len(entries[1]) // world_size) * world_size  # all of them at once
        return OrderedSamples(entries, batch_size, **self.share) if batch_size else []


class TensorFolds(TensorEntries):
    """One of the five folds of a measured tensor.

    Args:
        folder: Of the archive ``<name>.npz`` with arrays ``shape``, ``tr_ind<fold>``, ``tr_y<fold>``, ``te_ind<fold>``
            and ``te_y<fold>``.
        fold: 0 to 4.
        val_share: Share of the training entries that are held out to validate.
        seed: Of which.

    Source: Fang et al. 2024, Functional Bayesian Tucker decomposition, whose folds these are.
    """

    name: str

    def __init__(self, folder: str | os.PathLike[str], fold: int = 0, val_share: float = 0.1, seed: int = 0) -> None:
        super().__init__(val_share, seed)
        if not 0 <= fold < 5:
            raise ValueError(f"{type(self).__name__}: expected a fold from 0 to 4, but got {fold}.")
        self.path, self.fold = Path(folder) / f"{self.name}.npz", fold

    def read(self) -> tuple[Entries, Entries]:
        """Return the fold's entries."""
        path = existing_file(
            self.path, "the archive of one tensor in github.com/xuangu-fang/Functional-Bayesian-Tucker-Decomposition"
        )
        with np.load(path) as archive:
            if tuple(archive["shape"]) != self.shape:
                raise ValueError(f"{path}: expected a tensor {self.shape}, but got {tuple(archive['shape'])}.")
            train, test = (
                (
                    torch.from_numpy(archive[f"{part}_ind{self.fold}"].astype(np.int64)),
                    torch.from_numpy(archive[f"{part}_y{self.fold}"]),
                )
                for part in ("tr", "te")
            )
        return train, test


class BeijingPM25(TensorFolds):
    """Fine dust in Beijing by atmospheric pressure, temperature and time, standardized, ``100 x 100 x 300``.

    8,256 entries to train, 2,064 to test; the mean of the former is .994 off (root mean square) at the latter.
    """

    name = "beijing_pm25_100x100x300"

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the three modes."""
        return (100, 100, 300)


class USTemperature(TensorFolds):
    """Temperatures in the United States, degrees Fahrenheit, by latitude, longitude and time, ``15 x 95 x 267``.

    44,755 entries to train, 11,189 to test; the mean of the former is 8.69 off (root mean square) at the latter.
    """

    name = "us_temp_15x95x267"

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the three modes."""
        return (15, 95, 267)
