"""Loaders whose every number follows from seed, epoch and place, so that a run can be taken up anywhere."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch


class Epochs(ABC):
    """A loader that knows its epoch and the row of the next item, and goes on from a saved place exactly.

    Args:
        ends: The row at which each item of an epoch ends.
        identity: What else the numbers depend on; a saved place is refused where it differs.
        seed: Of all numbers.
    """

    def __init__(self, ends: list[int], identity: Mapping[str, float], seed: int) -> None:
        self._ends = ends
        self._identity = {**identity, "seed": seed}
        self._seed = seed
        self._epoch, self._row = 0, 0
        self._started = self._resumed = False

    @abstractmethod
    def items(self, epoch: int, start: int) -> Iterator[Any]:
        """Yield an epoch's items from the one that starts at row ``start``."""

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[Any]:
        if self._row and not self._resumed:  # an epoch was left early
            self._epoch, self._row = self._epoch + 1, 0
        self._started, self._resumed = True, False
        epoch = self._epoch
        for item, end in zip(self.items(epoch, self._row), self.ends_after(self._row), strict=True):
            # The place is noted before the item is given away, as Lightning does not ask again after the last one.
            self._epoch, self._row = (epoch, end) if end < self._ends[-1] else (epoch + 1, 0)
            yield item

    @property
    def sampler(self) -> "Epochs":
        """Where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the first epoch. From there, or from a loaded place, epochs are counted here.

        Lightning's count is not followed: after a checkpoint at the end of an epoch it can run ahead of the data.
        """
        if not self._started:
            self._epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the place of the next item, and what the numbers depend on."""
        return {"epoch": self._epoch, "row": self._row, **self._identity}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved place.

        Raises:
            ValueError: If the batches were others.
        """
        other = {key: state_dict.get(key) for key, value in self._identity.items() if state_dict.get(key) != value}
        if other:
            raise ValueError(
                f"{type(self).__name__}: the checkpoint is of other batches: it has {other}, but here is "
                f"{ {key: self._identity[key] for key in other} }; give the same data and settings."
            )
        self._epoch, self._row = state_dict["epoch"], state_dict["row"]
        self._started = self._resumed = True

    def ends_after(self, row: int) -> list[int]:
        """Return the ends of the items from the one that holds ``row``."""
        return self._ends[bisect_right(self._ends, row) :]

    def generator(self, *key: int) -> torch.Generator:
        """Return a generator for a part of the numbers; torch's own seeding would only use 32 bits, unmixed."""
        seed = np.random.SeedSequence([self._seed, *key]).generate_state(1)[0]
        return torch.Generator().manual_seed(int(seed))
