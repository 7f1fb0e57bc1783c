"""Multivariate time series of the UEA archive, from files or from a package that ships them."""

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from isometry.trainers.data.covariance import covariances
from isometry.trainers.data.edge_list import existing_file
from isometry.trainers.data.installed import installed_file
from isometry.trainers.data.padding import pad
from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.data.tensor_data import TensorDataModule

_PACKAGES = ("sktime", "aeon")
_VALIDATION_EVERY = 5

Series = tuple[list[Tensor], Tensor, tuple[str, ...]]
"""Sequences ``[c, T]``, their labels, and the names of the classes."""


class TimeSeries(TensorDataModule):
    """A set of the UEA archive, such as ``BasicMotions`` or ``JapaneseVowels``, split as published.

    Of the published training part, every fifth sequence is to validate (files are ordered by class, so that all
    classes take part) and the others to train.

    Args:
        name: Of the set. sktime and aeon come with BasicMotions (6 channels, 100 times, 4 classes, 40 + 40 sequences)
            and JapaneseVowels (12 channels, 7 to 29 times, 9 classes, 270 + 370).
        folder: Of ``<name>_TRAIN.ts`` and ``<name>_TEST.ts``; None takes those of the installed sktime or aeon.
        features: ``sequences``: inputs ``[b, c, T]``; where lengths differ, zero after a sequence's end, with the
            lengths ``[b]`` as a second input. ``covariances``: inputs ``[b, c, c]``, see ``covariances``.
        shrinkage: Of the covariances; a set with sequences of no more times than channels needs some.
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.
    """

    def __init__(
        self,
        name: str,
        folder: str | os.PathLike[str] | None = None,
        features: Literal["sequences", "covariances"] = "sequences",
        shrinkage: float | Literal["ledoit-wolf"] = 0.0,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        self.name = name
        self.folder = folder
        self.features = features
        self.shrinkage = shrinkage

    @property
    def num_classes(self) -> int:
        """Number of classes, as the files say."""
        return len(self._published[0][2])

    @cached_property
    def _published(self) -> tuple[Series, Series]:
        """The training and the test file."""
        train, test = (read_ts(self._path(f"{self.name}_{part}.ts")) for part in ("TRAIN", "TEST"))
        return train, test

    def _path(self, file: str) -> Path:
        if self.folder is None:
            return installed_file(_PACKAGES, f"datasets/data/{self.name}/{file}", "pip install sktime")
        return Path(self.folder, file)

    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        """Return the sequences or their covariances and the labels, the training file's first."""
        (train, train_labels, _), (test, test_labels, _) = self._published
        sequences, labels = train + test, torch.cat([train_labels, test_labels])
        inputs: Samples
        if self.features == "covariances":
            inputs = (covariances(sequences, self.shrinkage),)
        elif len({x.shape[-1] for x in sequences}) == 1:
            inputs = (torch.stack(sequences),)
        else:
            inputs = pad(sequences)
        row, first = torch.arange(len(labels)), len(train)
        held_out = row % _VALIDATION_EVERY == _VALIDATION_EVERY - 1
        rows = {"train": (row < first) & ~held_out, "val": (row < first) & held_out, "test": row >= first}
        return (*inputs, labels), rows


def read_ts(path: str | os.PathLike[str]) -> Series:
    """Read a file in sktime's format ``.ts``: channels between colons, the class last; lengths may differ.

    Returns:
        The sequences, float32 [c, T] each, their labels, and the names of the classes in the order of the header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is malformed, or values have time stamps or are missing; the line is in the message.
    """
    path = existing_file(path, "time series in sktime's format .ts, as on timeseriesclassification.com")
    lines = _lines(path)
    classes: tuple[str, ...] = ()
    for number, line in lines:
        tag, *values = line.split()
        if tag.lower() == "@data":
            break
        if tag.lower() == "@classlabel" and values[0].lower() == "true":
            classes = tuple(values[1:])
        if tag.lower() == "@timestamps" and values[0].lower() != "false":
            raise ValueError(f"{path}:{number}: expected values without time stamps, but got {line!r}.")
    if not classes:
        raise ValueError(f"{path}: expected a line '@classLabel true ...' before '@data', but there is none.")
    sequences: list[Tensor] = []
    labels = []
    for number, line in lines:
        *channels, label = line.split(":")
        try:
            sequence = torch.tensor([[float(value) for value in channel.split(",")] for channel in channels])
            labels.append(classes.index(label))
        except ValueError:
            raise ValueError(
                f"{path}:{number}: expected channels of equally many numbers between colons and one of the classes "
                f"{classes}, but got {line[:40]!r} ... {line[-40:]!r}."
            ) from None
        if sequences and len(sequence) != len(sequences[0]):
            raise ValueError(f"{path}:{number}: expected {len(sequences[0])} channels, but got {len(sequence)}.")
        sequences.append(sequence)
    return sequences, torch.tensor(labels), classes


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines that are not empty and no comments."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if (line := line.strip()) and not line.startswith(("#", "%")):
                yield number, line
