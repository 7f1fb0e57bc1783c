"""A function's values on a grid, to be fitted."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from isometry.trainers.data.epochs import Epochs
from isometry.trainers.data.process_share import SharedDataModule

Axes = tuple[Tensor, ...]
"""The coordinates ``[n_k]`` of a grid in each dimension."""


class GridBatches(Epochs):
    """Batches of a function on a grid: all of it, ``(axes, values)``, or random points of it, ``(points, values)``.

    Args:
        axes: Coordinates in each dimension.
        values: ``[n_1, ..., n_d, o]``.
        points: Points of a batch, over all processes together; None for the whole grid, in every process.
        batches: Batches of an epoch.
        seed: Of the points.
        rank: This process.
        world_size: Number of processes; each takes its share of the points.

    Raises:
        ValueError: If a size is less than 1, or the points do not divide by the processes.
    """

    def __init__(
        self,
        axes: Axes,
        values: Tensor,
        points: int | None,
        batches: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batches < 1 or (points is not None and (points < 1 or points % world_size)):
            raise ValueError(
                f"GridBatches: expected batches >= 1 and points that divide by the {world_size} processes, but got "
                f"batches={batches} and points={points}."
            )
        self.axes, self.values, self.points = axes, values, points
        self.rank, self.world_size = rank, world_size
        super().__init__([*range(1, batches + 1)], {"points": points or 0, "batches": batches}, seed)

    def items(self, epoch: int, start: int) -> Iterator[tuple[Axes | Tensor, Tensor]]:
        """Yield the epoch's batches from number ``start`` on."""
        for end in self.ends_after(start):
            if self.points is None:
                yield self.axes, self.values
                continue
            sizes = self.values.shape[:-1]
            drawn = torch.randint(math.prod(sizes), (self.points,), generator=self.generator(epoch, end))
            places = torch.unravel_index(drawn[self.rank :: self.world_size], sizes)
            x = torch.stack([axis[place] for axis, place in zip(self.axes, places, strict=True)], -1)
            yield x, self.values[places]


class GridDataModule(SharedDataModule, ABC):
    """Values in [0, 1] of one function on a grid over ``[-1, 1]^d``, to train and, all of them, to validate and test.

    A subclass says how they are read, which happens once.

    Args:
        points: Random points of a training batch; None for batches of the whole grid.
        batches: Batches of an epoch.
        seed: Of the points.
    """

    def __init__(self, points: int | None, batches: int, seed: int) -> None:
        super().__init__()
        self.points, self.batches, self.seed = points, batches, seed

    @abstractmethod
    def read(self) -> Tensor:
        """Return the values ``[n_1, ..., n_d, o]``."""

    @cached_property
    def values(self) -> Tensor:
        """The values.

        Raises:
            ValueError: If some are outside [0, 1] or NaN.
        """
        values = self.read()
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{type(self).__name__}: expected values in [0, 1], but some are outside or NaN.")
        return values

    @property
    def axes(self) -> Axes:
        """The coordinates in each dimension, equally spaced from -1 to 1."""
        return tuple(torch.linspace(-1, 1, n) for n in self.values.shape[:-1])

    def setup(self, stage: str) -> None:
        """Read the values, or fail, before anything is trained."""
        _ = self.values

    def train_dataloader(self) -> GridBatches:
        """Return the training batches, of random points this process's share."""
        return GridBatches(self.axes, self.values, self.points, self.batches, seed=self.seed, **self.share)

    def val_dataloader(self) -> "WholeGrid":
        """Return the whole grid, in every process."""
        return WholeGrid(self.axes, self.values)

    def test_dataloader(self) -> "WholeGrid":
        """Return the whole grid, in every process."""
        return self.val_dataloader()


class WholeGrid:
    """A single batch ``(axes, values)``."""

    def __init__(self, axes: Axes, values: Tensor) -> None:
        self.batch = axes, values

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[Axes, Tensor]]:
        return iter([self.batch])
