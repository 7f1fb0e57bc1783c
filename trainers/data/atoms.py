"""Structures of atoms from files that ase reads, as graphs."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from isometry.layers.equivariant import radius_graph
from isometry.trainers.data.edge_list import existing_file

Frames = str | os.PathLike[str] | Sequence[Any]
"""A file that ase reads, or a sequence of ``ase.Atoms``."""

Precision = Literal["float32", "float64"]

_PER_ATOM = frozenset({"charges", "energies", "forces", "magmoms", "stresses"})  # of a calculator's results
_VOIGT = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]


def read_frames(frames: Frames) -> list[Any]:
    """Return the ``ase.Atoms`` of a file, of a format that ase reads (extended XYZ, trajectories), or of its databases.

    Raises:
        ModuleNotFoundError: If ase is not installed.
        FileNotFoundError: If there is no such file.
        ValueError: If there are no frames.
    """
    if not isinstance(frames, str | os.PathLike):
        return list(frames)
    try:
        import ase.db
        import ase.io
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{frames}: ase reads such files; install it by: pip install isometry[atoms]"
        ) from error
    path = existing_file(frames, "frames of atoms, such as an extended XYZ file or a database of ase")
    if path.suffix == ".db":
        with ase.db.connect(path) as database:
            found = [row.toatoms(add_additional_information=True) for row in database.select()]
    else:
        found = list(ase.io.iread(path))
    if not found:
        raise ValueError(f"{path}: expected frames of atoms, but there are none.")
    return found


class Label(NamedTuple):
    """Numbers that come with atoms: one row for each atom, or of the structure."""

    value: NDArray[Any]
    per_atom: bool


def labels_of(atoms: Any) -> dict[str, Label]:
    """Return all numbers that ``ase.Atoms`` carry beside species and positions, by name.

    Where a name occurs twice, the results of the calculator count (where ase puts a file's ``energy``, ``forces`` and
    ``stress``), then ``info``, then a database's ``data`` and key-value pairs, then the ``arrays`` of the atoms.
    """
    arrays = {key: value for key, value in atoms.arrays.items() if key not in ("numbers", "positions")}
    stored = [atoms.info.get(key, {}) for key in ("key_value_pairs", "data")]
    results = {} if atoms.calc is None else atoms.calc.results
    labels = {key: Label(np.asarray(value), True) for key, value in arrays.items()}
    for part in (*stored, atoms.info, results):
        labels |= {key: Label(np.asarray(value), key in _PER_ATOM) for key, value in part.items()}
    return {key: label for key, label in labels.items() if label.value.dtype.kind in "fiu"}


def atoms_graph(
    atoms: Any,
    cutoff: float,
    labels: Mapping[str, str] | None = None,
    dtype: Precision = "float32",
    backend: str = "torch",
) -> Data:
    """Return ``ase.Atoms`` as a graph: what a ``Potential`` is called with, and labels.

    It has ``z [N]``, ``pos [N, 3]``, ``cell [1, 3, 3]``, ``pbc [1, 3]``, ``edge_index [2, E]`` and ``shift [E, 3]``,
    and of the labels those of each atom as ``[N, ...]``, others as ``[1, ...]``; the energy in float64, a stress given
    by six numbers (Voigt: xx, yy, zz, yz, xz, xy) as ``[1, 3, 3]``, and one of nine numbers as ``[1, 3, 3]``, too.

    Args:
        atoms: Of ase.
        cutoff: Atoms closer than this are neighbours.
        labels: The name that each label has in ``atoms``, by the name in the graph.
        dtype: Of positions and labels.
        backend: Of the neighbour list; see ``radius_graph``.

    Raises:
        ValueError: If a label is missing or not finite, or has a shape that its name does not allow.
    """
    kind = getattr(torch, dtype)
    pos = torch.from_numpy(atoms.positions).to(kind)
    cell, pbc = torch.from_numpy(atoms.cell.array).to(kind), torch.from_numpy(atoms.pbc)
    edge_index, shift = radius_graph(pos, cutoff, None, cell, pbc, backend)
    graph = Data(
        z=torch.from_numpy(atoms.numbers).long(),
        pos=pos,
        cell=cell.unsqueeze(0),
        pbc=pbc.unsqueeze(0),
        edge_index=edge_index,
        shift=shift.to(kind),
    )
    found = labels_of(atoms)
    for name, key in (labels or {}).items():
        if key not in found:
            raise ValueError(f"{atoms.symbols}: expected the label {key!r}, but there are {sorted(found)}.")
        try:
            value = torch.from_numpy(_shaped(name, found[key], len(atoms)))
        except ValueError as error:
            raise ValueError(f"{atoms.symbols}, label {key!r}: {error}") from error
        graph[name] = value.to(torch.float64 if name == "energy" else kind)
    return graph


def _shaped(name: str, label: Label, count: int) -> NDArray[np.float64]:
    """Return a label in the shape that ``atoms_graph`` describes."""
    value = label.value.astype(np.float64)
    if not np.isfinite(value).all():
        raise ValueError("expected finite numbers, but some are not.")
    if name == "stress" and value.size == 6:
        value = value.ravel()[_VOIGT]
    if not label.per_atom:
        value = value.reshape(3, 3) if value.size == 9 else value.reshape(()) if value.size == 1 else value
    expected = {"energy": (), "forces": (count, 3), "stress": (3, 3)}.get(name, value.shape)
    if value.shape != expected or (label.per_atom and len(value) != count):
        raise ValueError(f"expected the shape {list(expected)} for {count} atoms, but got {list(value.shape)}.")
    return value if label.per_atom else value[None]
