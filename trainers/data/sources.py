"""Graphs from whatever file or folder holds one."""

import os
from pathlib import Path

from isometry.trainers.data.edge_list import read_csv, read_edge_list, read_npz
from isometry.trainers.data.graph import Graph
from isometry.trainers.data.wordnet import read_wordnet_nouns


def read_graph(path: str | os.PathLike[str]) -> Graph:
    """Read a graph: a table ``*.csv``, an edge list ``*.edges``, an archive ``*.npz``, or a folder of WordNet's files.

    Raises:
        FileNotFoundError: If nothing is there.
        ValueError: If the content is not what the name says; file and line are in the message.
    """
    path = Path(path)
    if path.is_dir():
        return read_wordnet_nouns(path)
    readers = {".csv": read_csv, ".edges": read_edge_list, ".npz": read_npz}
    if path.suffix not in readers:
        raise ValueError(f"{path}: expected a folder of WordNet's files or a file named {' or '.join(readers)}.")
    return readers[path.suffix](path)
