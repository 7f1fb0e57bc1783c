"""The Lightning data module of labelled samples that fit in memory."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.data.sample_parts import SamplePartsDataModule


class TensorDataModule(SamplePartsDataModule):
    """Labelled samples in three parts: ``train``, ``val`` and ``test``. A batch is ``(*inputs, labels)``.

    A subclass says how they are read, which happens once. Training batches are shuffled, the others come in order, and
    a part without samples gives no batches.

    Args:
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.
    """

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
