"""HDM05: which of eleven actions a skeleton performs, from motion capture."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from isometry.trainers.data.archive import read_arrays
from isometry.trainers.data.padding import pad
from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.data.tensor_data import TensorDataModule

_SOURCE = (
    "232 sequences of 11 actions of HDM05, from the .amc.mat files of github.com/zhangchi8620/JointLearning-HDM05: "
    "31 joints relative to the root, at 30 Hz"
)
_TEST = "mm"
_OTHERS = ("bd", "bk", "dg")


class HDM05(TensorDataModule):
    r"""Sequences of 31 joints in space, 11 actions by four persons; trained on some persons and tested on another.

    Trains on bd, bk and dg (188 sequences) and tests on mm (44). A person to validate on is left out of training.

    Args:
        folder: Of the archives.
        features: ``covariances``: inputs ``[b, 93, 93]``, :math:`S + 10^{-3} \operatorname{tr}(S)/93\, I` with the
            covariance S of all coordinates in time, at the full rate, from ``cov93.npz`` with ``cov [n, 93, 93]``;
            ``sequences``: inputs ``[b, 93, T]``, zero after a sequence's end, and lengths ``[b]``, from
            ``joints_30hz.npz`` with ``frames [N, 31, 3]`` of all sequences one after the other, and ``lengths [n]``.
            Both have ``y [n]`` and ``subject [n]``.
        validation_subject: One of bd, bk and dg; None validates on none. Each in turn is leave-one-subject-out.
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.

    Source: Mueller et al. 2007 (data, CC BY-SA 3.0).
    """

    num_classes = 11

    def __init__(
        self,
        folder: str | os.PathLike[str],
        features: Literal["covariances", "sequences"] = "covariances",
        validation_subject: str | None = None,
        batch_size: int = 30,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        if validation_subject not in (None, *_OTHERS):
            raise ValueError(
                f"HDM05: expected a validation_subject of {_OTHERS} or None, but got {validation_subject!r}."
            )
        self.folder = Path(folder)
        self.features = features
        self.validation_subject = validation_subject

    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        """Return the inputs and labels, and the rows of each part's persons."""
        shapes: dict[str, tuple[int | None, ...]] = {"y": (None,), "subject": (None,)}
        if self.features == "covariances":
            arrays = read_arrays(self.folder / "cov93.npz", {"cov": (None, 93, 93), **shapes}, _SOURCE)
            inputs: Samples = (torch.from_numpy(arrays["cov"]).float(),)
        else:
            path = self.folder / "joints_30hz.npz"
            arrays = read_arrays(path, {"frames": (None, 31, 3), "lengths": (None,), **shapes}, _SOURCE)
            frames, lengths = torch.from_numpy(arrays["frames"]).float(), arrays["lengths"].tolist()
            if sum(lengths) != len(frames):
                raise ValueError(f"{path}: expected frames of the lengths' sum {sum(lengths)}, but got {len(frames)}.")
            inputs = pad([sequence.flatten(1).mT for sequence in frames.split(lengths)])
        subject = arrays["subject"]
        if unknown := set(subject.tolist()) - {_TEST, *_OTHERS}:
            raise ValueError(f"HDM05: expected the subjects {_OTHERS} and {_TEST}, but got {sorted(unknown)}.")
        rows = {
            "train": (subject != _TEST) & (subject != self.validation_subject),
            "val": subject == self.validation_subject,
            "test": subject == _TEST,
        }
        samples = (*inputs, torch.from_numpy(arrays["y"]).long())
        return samples, {part: torch.from_numpy(mask) for part, mask in rows.items()}
