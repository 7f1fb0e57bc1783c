"""The Lightning data module of pairs of functions on grids that fit in memory."""

from abc import abstractmethod
from functools import cached_property

from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.data.sample_parts import SamplePartsDataModule


class FunctionDataModule(SamplePartsDataModule):
    """Pairs of functions in three parts: ``train``, ``val`` and ``test``. A batch is ``(input, target)``.

    A subclass says how they are read, which happens once. Training batches are shuffled, the others come in order, and
    a part without samples gives no batches.

    Args:
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.
    """

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
