"""Batches of labelled samples: shuffled to train, in order to evaluate; each process its share."""

from collections.abc import Iterator

import torch
from torch import Tensor

from isometry.trainers.data.epochs import Epochs

Samples = tuple[Tensor, ...]
"""Inputs and, last, labels: tensors of equally many rows."""


class ShuffledSamples(Epochs):
    """Shuffled rows of tensors, ``batch_size`` at a time; the order follows from seed and epoch.

    Under several processes all shuffle alike and each takes its share of a batch's rows: the mean of their losses is
    the loss of one process.

    Args:
        samples: Tensors of equally many rows, of which an item has those of a batch.
        batch_size: Rows of a batch, over all processes together; the last batch of an epoch may have fewer.
        seed: Of the order.
        rank: This process.
        world_size: Number of processes. A short last batch loses the rows that do not divide by it.

    Raises:
        ValueError: If the sizes do not fit each other.
    """

    def __init__(self, samples: Samples, batch_size: int, *, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        _check_sizes(self, samples, batch_size, world_size)
        self.samples = samples
        self.rank, self.world_size = rank, world_size
        count = len(samples[0])
        end = count // world_size * world_size
        identity = {"samples": count, "batch_size": batch_size}
        super().__init__([*range(batch_size, end, batch_size), end], identity, seed)

    def items(self, epoch: int, start: int) -> Iterator[Samples]:
        """Yield the epoch's batches from the one that starts at row ``start``."""
        order = torch.randperm(len(self.samples[0]), generator=self.generator(epoch))
        for end in self.ends_after(start):
            rows = order[start:end][self.rank :: self.world_size]
            yield tuple(tensor[rows] for tensor in self.samples)
            start = end


class OrderedSamples:
    """Rows of tensors in order, every row in exactly one process.

    Args:
        samples: Tensors of equally many rows.
        batch_size: Rows of a batch, over all processes together.
        rank: This process.
        world_size: Number of processes; where the rows do not divide by it, some have a row, or a batch, more.

    Raises:
        ValueError: If the sizes do not fit each other.
    """

    def __init__(self, samples: Samples, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        _check_sizes(self, samples, batch_size, world_size)
        self.samples = samples
        self._items = torch.arange(rank, len(samples[0]), world_size).split(batch_size // world_size)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Samples]:
        return (tuple(tensor[rows] for tensor in self.samples) for rows in self._items)


def _check_sizes(loader: object, samples: Samples, batch_size: int, world_size: int) -> None:
    if batch_size < 1 or batch_size % world_size:
        raise ValueError(
            f"{type(loader).__name__}: expected a batch_size that divides by the {world_size} processes, "
            f"but got {batch_size}."
        )
    if len(samples[0]) < world_size:
        raise ValueError(
            f"{type(loader).__name__}: expected at least {world_size} samples, one for each process, "
            f"but got {len(samples[0])}."
        )
