"""Random points at which an equation is to hold."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from isometry.trainers.data.epochs import Epochs
from isometry.trainers.data.process_share import SharedDataModule
from isometry.trainers.data.sample_batches import OrderedSamples

Sampler = Callable[[int, torch.Generator], Tensor]


class RandomPoints(Epochs):
    """Batches ``(x,)`` of new random points, which follow from seed, epoch and place.

    Args:
        sample: Returns so many points, drawn by the generator.
        batch_size: Points of a batch, over all processes together.
        batches: Batches of an epoch.
        seed: Of the points.
        rank: This process.
        world_size: Number of processes; each takes its share of a batch.

    Raises:
        ValueError: If a size is less than 1, or the batch does not divide by the processes.
    """

    def __init__(
        self, sample: Sampler, batch_size: int, batches: int, *, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size < 1 or batch_size % world_size or batches < 1:
            raise ValueError(
                f"RandomPoints: expected batches >= 1 and a batch_size that divides by the {world_size} processes, "
                f"but got batches={batches} and batch_size={batch_size}."
            )
        self.sample, self.batch_size = sample, batch_size
        self.rank, self.world_size = rank, world_size
        ends = range(batch_size, batch_size * batches + 1, batch_size)
        super().__init__([*ends], {"batch_size": batch_size, "batches": batches}, seed)

    def items(self, epoch: int, start: int) -> Iterator[tuple[Tensor]]:
        """Yield the epoch's batches from the one that starts at row ``start``."""
        for end in self.ends_after(start):
            yield (self.sample(self.batch_size, self.generator(epoch, end))[self.rank :: self.world_size],)


class Collocation(SharedDataModule):
    """Random points to train a ``PhysicsInformed`` function, new ones in every batch, and fixed ones to test it.

    A batch to validate or to test is ``(x, solution(x))``; without a solution there are none.

    Args:
        sample: Returns so many points of the domain, drawn by the generator, such as ``lambda count, generator:
            Sphere(2).random(count, 3, generator=generator)``.
        solution: The true solution, if it is known.
        batch_size: Points of a batch, over all processes together.
        batches: Batches of an epoch.
        test_points: Number of points to validate and to test.
        seed: Of all points.
    """

    def __init__(
        self,
        sample: Sampler,
        solution: Callable[[Tensor], Tensor] | None = None,
        *,
        batch_size: int = 100,
        batches: int = 100,
        test_points: int = 1000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sample, self.solution = sample, solution
        self.batch_size, self.batches, self.test_points, self.seed = batch_size, batches, test_points, seed

    def train_dataloader(self) -> RandomPoints:
        """Return this process's share of new points."""
        return RandomPoints(self.sample, self.batch_size, self.batches, seed=self.seed, **self.share)

    def val_dataloader(self) -> OrderedSamples | list[OrderedSamples]:
        """Return this process's share of the fixed points and the solution there."""
        if self.solution is None:
            return []
        x = self.sample(self.test_points, torch.Generator().manual_seed(self.seed + 2**31))
        return OrderedSamples((x, self.solution(x)), self.batch_size, **self.share)

    def test_dataloader(self) -> OrderedSamples | list[OrderedSamples]:
        """Return the same points."""
        return self.val_dataloader()
