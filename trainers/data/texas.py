"""WebKB's Texas: the kinds of pages of a university."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from isometry.trainers.data.archive import read_arrays
from isometry.trainers.data.node_data import NodeDataModule, undirected
from isometry.trainers.data.sample_batches import Samples

_SOURCE = "WebKB's Texas with the ten splits of Geom-GCN, from github.com/Graph-and-Geometric-Learning/HyperCore"


class Texas(NodeDataModule):
    """Five kinds of 183 pages by the words in them and their links: inputs x ``[n, 1703]`` and ``edge_index``.

    x is 0 or 1; every link is an edge in both directions, 558 in all. Few links join pages of one kind. In each split
    87 pages are to train, 59 to validate and 37 to test.

    Args:
        folder: Of ``texas.npz``, with ``edges [e, 2]``, ``x [n, 1703]``, ``y [n]`` and the nodes ``train0``, ``val0``,
            ``test0`` to ``train9``, ``val9``, ``test9``.
        split: 0 to 9.

    Source: Pei et al. 2020, Geom-GCN (graph and splits).
    """

    num_classes = 5

    def __init__(self, folder: str | os.PathLike[str], split: int = 0) -> None:
        super().__init__()
        if not 0 <= split < 10:
            raise ValueError(f"Texas: expected a split from 0 to 9, but got {split}.")
        self.folder = Path(folder)
        self.split = split

    def read(self) -> tuple[Samples, Mapping[str, Tensor]]:
        """Return the graph and its labels, and the nodes of each part."""
        names = {part: f"{part}{self.split}" for part in ("train", "val", "test")}
        shapes = {"edges": (None, 2), "x": (None, 1703), "y": (None,), **dict.fromkeys(names.values(), (None,))}
        arrays = read_arrays(self.folder / "texas.npz", shapes, _SOURCE)
        nodes = {part: torch.from_numpy(arrays[name]).long() for part, name in names.items()}
        x, labels = torch.from_numpy(arrays["x"]).float(), torch.from_numpy(arrays["y"]).long()
        return (x, undirected(arrays["edges"]), labels), nodes
