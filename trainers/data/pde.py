"""Solutions of differential equations on small grids: Darcy flow and Burgers' equation."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from isometry.trainers.data.edge_list import existing_file
from isometry.trainers.data.function_data import FunctionDataModule
from isometry.trainers.data.sample_batches import Samples

_SOURCE = "of neuralop/data/datasets/data in github.com/neuraloperator/neuraloperator (MIT licence)"


def read_tensors(path: str | os.PathLike[str], shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, Tensor]:
    """Read a dictionary of tensors that ``torch.save`` wrote, such as the files of neuraloperator's data sets.

    Args:
        path: The file.
        shapes: The shape of each tensor by its name; None for a size that may be any.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such dictionary, or a tensor is missing or has another shape.
    """
    wanted = ", ".join(f"{name} {list(shape)}".replace("None", "n") for name, shape in shapes.items())
    expected = f"a dictionary of the tensors {wanted}, by torch.save, as those {_SOURCE}"
    path = existing_file(path, expected)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: expected {expected}; but this is no complete file of tensors.") from error
    found = {name: content[name] for name in shapes if isinstance(content, dict) and name in content}
    for name, shape in shapes.items():
        actual = found[name].shape if isinstance(found.get(name), Tensor) else None
        if (
            actual is None
            or len(actual) != len(shape)
            or any(n not in (None, m) for n, m in zip(shape, actual, strict=True))
        ):
            what = "is missing" if actual is None else f"is {list(actual)}"
            raise ValueError(f"{path}: expected {expected}; but {name} {what}.")
    return found


class Darcy(FunctionDataModule):
    r"""Steady flow through a medium: from its permeability a to the pressure u, ``-div(a grad u) = 1``, u = 0 outside.

    Inputs ``[n, 1, 16, 16]`` are 0 or 1, for the two permeabilities, and targets ``[n, 1, 16, 16]`` the pressure.
    Trains on ``darcy_train_16.pt`` and tests on ``darcy_test_16.pt``.

    Args:
        folder: Of the two files.
        val_size: Training samples, the last ones, to validate on.
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.

    Source: Li et al. 2021, Fourier neural operator for parametric partial differential equations.
    """

    def __init__(self, folder: str | os.PathLike[str], val_size: int = 0, batch_size: int = 32, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        self.folder, self.val_size = Path(folder), val_size

    def read(self) -> dict[str, Samples]:
        """Return the pairs, in float32."""
        shapes = {"x": (None, 16, 16), "y": (None, 16, 16)}
        train, test = (read_tensors(self.folder / f"darcy_{part}_16.pt", shapes) for part in ("train", "test"))
        pairs = [tuple(tensors[name].float().unsqueeze(1) for name in ("x", "y")) for tensors in (train, test)]
        return _parts("Darcy", pairs[0], pairs[1], self.val_size)


class Burgers(FunctionDataModule):
    r"""A wave that steepens: from u at time 0 to u at the last of 17 times, ``u_t + u u_x = nu u_xx``, periodic.

    Inputs and targets are ``[n, 1, 16]``, from ``burgers_train_16.pt`` with ``x [n, 16]`` and ``y [n, 17, 16]``; there
    is no test file, so the last samples are held out.

    Args:
        folder: Of the file.
        test_size: Samples to test on, the last ones.
        val_size: Samples before those, to validate on.
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.

    Source: Li et al. 2021, Fourier neural operator for parametric partial differential equations.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        test_size: int = 200,
        val_size: int = 0,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        self.folder, self.test_size, self.val_size = Path(folder), test_size, val_size

    def read(self) -> dict[str, Samples]:
        """Return the pairs, in float32."""
        tensors = read_tensors(self.folder / "burgers_train_16.pt", {"x": (None, 16), "y": (None, 17, 16)})
        pair = (tensors["x"].float().unsqueeze(1), tensors["y"][:, -1:].float())
        count = len(pair[0]) - self.test_size
        if not 0 < self.test_size < len(pair[0]):
            raise ValueError(f"Burgers: expected a test_size from 1 to {len(pair[0]) - 1}, but got {self.test_size}.")
        train, test = (tuple(t[rows] for t in pair) for rows in (slice(count), slice(count, None)))
        return _parts("Burgers", train, test, self.val_size)


def _parts(name: str, train: Samples, test: Samples, val_size: int) -> dict[str, Samples]:
    """Return the parts, the last training samples to validate on."""
    count = len(train[0])
    if not 0 <= val_size < count:
        raise ValueError(f"{name}: expected a val_size from 0 to {count - 1}, but got {val_size}.")
    at = count - val_size
    return {"train": tuple(t[:at] for t in train), "val": tuple(t[at:] for t in train), "test": test}
