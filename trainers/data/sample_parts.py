"""What the Lightning data modules of samples in memory share: three parts, read once, and their loaders."""

from abc import ABC, abstractmethod

from isometry.trainers.data.process_share import SharedDataModule
from isometry.trainers.data.sample_batches import OrderedSamples, Samples, ShuffledSamples


class SamplePartsDataModule(SharedDataModule, ABC):
    """Samples in three parts: ``train``, ``val`` and ``test``.

    Training batches are shuffled, the others come in order, and a part without samples gives no batches.

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
    def parts(self) -> dict[str, Samples]:
        """The samples of ``train``, ``val`` and ``test``, read once."""

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
