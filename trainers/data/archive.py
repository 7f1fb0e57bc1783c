"""Arrays from numpy archives."""

import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isometry.trainers.data.edge_list import existing_file


def read_arrays(
    path: str | os.PathLike[str], shapes: Mapping[str, tuple[int | None, ...]], source: str
) -> dict[str, NDArray[Any]]:
    """Read arrays of a numpy archive.

    Args:
        path: The archive.
        shapes: The shape of each array by its name; None for a size that may be any.
        source: What the archive is and where it comes from, for the messages.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no archive, or an array is missing or has another shape.
    """
    wanted = ", ".join(f"{name} {_shape(shape)}" for name, shape in shapes.items())
    expected = f"a numpy archive of {wanted}: {source}"
    path = existing_file(path, expected)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: expected {expected}; but this is no complete archive.")
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in shapes if name in archive.files}
        if len(arrays) < len(shapes):
            raise ValueError(f"{path}: expected {expected}; but it has {', '.join(archive.files)}.")
    for name, shape in shapes.items():
        found = arrays[name].shape
        if len(found) != len(shape) or any(n not in (None, m) for n, m in zip(shape, found, strict=True)):
            raise ValueError(f"{path}: expected {expected}; but {name} is {_shape(found)}.")
    return arrays


def _shape(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('n' if size is None else str(size) for size in shape)}]"
