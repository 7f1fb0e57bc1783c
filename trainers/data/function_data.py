"""The Lightning data module of pairs of functions on grids that fit in memory."""

from abc import ABC, abstractmethod
from functools import cached_property

from isometry.trainers.data.process_share import SharedDataModule
from isometry.trainers.data.sample_batches import OrderedSamples, Samples, ShuffledSamples


class FunctionDataModule(SharedDataModule, ABC):
    """Pairs of functions in three parts: ``train``, ``val`` and ``test``. A batch is ``(input, target)``.

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

    @abstractmethod
    def read(self) -> dict[str, Samples]:
        """Return inputs ``[n, i, ...]`` and targets ``[n, o, ...]`` of the three parts."""

    @cached_property
    def parts(self) -> dict[str, Samples]:
        """The samples of ``train``, ``val`` and ``test``.

        Raises:
            ValueError: If values are not finite.
        """
        parts = self.read()
        for name, samples in parts.items():
            if not all(tensor.isfinite().all() for tensor in samples):
                raise ValueError(
                    f"{type(self).__name__}: expected finite values, but some of the part {name!r} are NaN or "
                    "infinite; is the file damaged?"
                )
        return parts

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
