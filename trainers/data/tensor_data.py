"""The Lightning data module of labelled samples that fit in memory."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from isometry.trainers.data.process_share import SharedDataModule
from isometry.trainers.data.sample_batches import OrderedSamples, Samples, ShuffledSamples


class TensorDataModule(SharedDataModule, ABC):
    """Labelled samples in three parts: ``train``, ``val`` and ``test``. A batch is ``(*inputs, labels)``.

    A subclass says how they are read, which happens once. Training batches are shuffled, the others come in order, and
    a part without samples gives no batches.

    Args:
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.
    """

    def __init__(self, batch_size: int, seed: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.seed = seed

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Number of classes; labels are 0 to ``num_classes - 1``."""

    @abstractmethod
    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        """Return inputs and labels, and which rows (a slice, indices or a mask) the three parts have."""

    @cached_property
    def parts(self) -> dict[str, Samples]:
        """The samples of ``train``, ``val`` and ``test``: tensors of inputs and, last, of int64 labels.

        Raises:
            ValueError: If tensors have different numbers of rows, inputs are not finite, or labels are no classes.
        """
        samples, rows = self.read()
        *inputs, labels = samples
        name = type(self).__name__
        if len({len(tensor) for tensor in samples}) != 1:
            raise ValueError(f"{name}: expected as many labels as inputs, but got {[len(t) for t in samples]} rows.")
        if not all(tensor.isfinite().all() for tensor in inputs):
            raise ValueError(f"{name}: expected finite inputs, but some are NaN or infinite; is the file damaged?")
        if labels.dtype != torch.int64 or not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(
                f"{name}: expected int64 labels 0 to {self.num_classes - 1}, "
                f"but got {labels.dtype} {labels.min()} to {labels.max()}."
            )
        return {part: tuple(tensor[rows[part]] for tensor in samples) for part in ("train", "val", "test")}

    def setup(self, stage: str) -> None:
        """Read the samples, or fail, before anything is trained."""
        _ = self.parts

    def train_dataloader(self) -> ShuffledSamples:
        """Return this process's share of the training batches."""
        return ShuffledSamples(self.parts["train"], self.batch_size, seed=self.seed, **self.share)

    def val_dataloader(self) -> OrderedSamples | list[OrderedSamples]:
        """Return this process's share of the samples to validate."""
        return self._ordered("val")

    def test_dataloader(self) -> OrderedSamples | list[OrderedSamples]:
        """Return this process's share of the samples to test."""
        return self._ordered("test")

    def _ordered(self, part: str) -> OrderedSamples | list[OrderedSamples]:
        samples = self.parts[part]
        return OrderedSamples(samples, self.batch_size, **self.share) if len(samples[0]) else []
