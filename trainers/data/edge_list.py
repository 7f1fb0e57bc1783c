"""Graphs from files: tables of relations, edge lists, numpy archives."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from isometry.trainers.data.graph import Graph


def existing_file(path: str | os.PathLike[str], expected: str) -> Path:
    """Return the path of a file that exists, or raise FileNotFoundError with what was expected."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {expected}.")
    return path


def read_csv(path: str | os.PathLike[str]) -> Graph:
    """Read a table with the columns ``id1`` (child), ``id2`` (parent); nodes are numbered in the order of their names.

    This is the form of the published transitive closures. Their third column, ``weight``, must be 1 throughout.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a column or an entry is missing, or a weight is not 1.
    """
    return Graph.from_names(_csv_pairs(existing_file(path, "a table with the header id1,id2,weight")))


def _csv_pairs(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        header = rows.fieldnames or []
        if "id1" not in header or "id2" not in header:
            raise ValueError(f"{path}:1: expected a header with the columns id1 and id2, but got {','.join(header)!r}.")
        for row in rows:
            u, v, weight = row["id1"], row["id2"], row.get("weight", "1")
            if not u or not v or u == v or weight != "1" or None in row:
                raise ValueError(
                    f"{path}:{rows.line_num}: expected two different names and weight 1 under the header "
                    f"{','.join(header)}, but got {list(row.values())}."
                )
            yield u, v


def read_edge_list(path: str | os.PathLike[str]) -> Graph:
    """Read an undirected graph: two node numbers a line; every edge is taken in both directions.

    Lines that start with ``#`` or ``%`` are comments. Self-loops, which no distance can express, are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a line is anything else.
    """
    path = existing_file(path, "an edge list, two node numbers a line")
    pairs = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            fields = line.split()
            if not fields or fields[0][0] in "#%":
                continue
            if len(fields) != 2 or not all(field.isdecimal() for field in fields):
                raise ValueError(f"{path}:{number}: expected two node numbers, but got {line.rstrip()!r}.")
            pairs.append((int(fields[0]), int(fields[1])))
    edges = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)
    numbers, edges = edges.unique(return_inverse=True)
    edges = edges[edges[:, 0] != edges[:, 1]]
    return Graph(edges, len(numbers), tuple(map(str, numbers.tolist()))).symmetric()


def read_npz(path: str | os.PathLike[str]) -> Graph:
    """Read an archive of numpy with the arrays ``names`` [n] and ``edges`` [E, 2] (child, parent).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If an array is missing or does not describe a graph.
    """
    path = existing_file(
        path, "a numpy archive of names [n] and edges [E, 2]; the nouns of WordNet need none, see read_graph"
    )
    with np.load(path, allow_pickle=False) as arrays:
        if missing := {"names", "edges"} - set(arrays.files):
            raise ValueError(
                f"{path}: expected the arrays names and edges, but {sorted(missing)} is not in {arrays.files}."
            )
        names, edges = arrays["names"], arrays["edges"]
    try:
        return Graph(torch.from_numpy(edges.astype(np.int64, casting="safe")), len(names), tuple(map(str, names)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
