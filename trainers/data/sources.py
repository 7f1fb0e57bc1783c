"""Graphs from whatever file or folder holds one, and trees."""

import os
from pathlib import Path

import torch

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


def balanced_tree(branching: int, height: int) -> Graph:
    """Return the tree whose nodes have ``branching`` children each, down to ``height``; edges lead to parents.

    Node 0 is the root, and the children of node i are ``branching i + 1``, ..., ``branching (i + 1)``.

    Raises:
        ValueError: If an argument is below 1.
    """
    if branching < 1 or height < 1:
        raise ValueError(f"balanced_tree: expected branching and height of at least 1, but got {branching}, {height}.")
    children = torch.arange(1, sum(branching**level for level in range(height + 1)))
    return Graph(torch.stack([children, (children - 1) // branching], 1), len(children) + 1)
