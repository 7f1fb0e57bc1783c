"""The graphs on which hyperbolic graph networks are compared: a spreading disease, airports, citations."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from isometry.trainers.data.archive import read_arrays
from isometry.trainers.data.link_data import LinkDataModule, with_degrees
from isometry.trainers.data.node_data import SPARSE_ROWS, NodeDataModule, normalised_rows, undirected
from isometry.trainers.data.sample_batches import Samples

_SOURCE = "edges, features and labels of a graph, from github.com/HazyResearch/hgcn"
_SHAPES: Mapping[str, Mapping[str, tuple[int | None, ...]]] = {
    "disease_nc": {"edges": (None, 2), "y": (None,)},
    "disease_lp": {"edges": (None, 2), "y": (None,), "x": (None, 11)},
    "airport": {"edges": (None, 2), "y": (None,), "x": (None, 4)},
    "cora": {"edges": (None, 2), "y": (None,), **SPARSE_ROWS},
}


def _read(folder: str | os.PathLike[str], name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a graph; the airports' one loop is left out."""
    arrays = read_arrays(Path(folder) / f"{name}.npz", _SHAPES[name], _SOURCE)
    edges = arrays["edges"]
    return {**arrays, "edges": edges[edges[:, 0] != edges[:, 1]]}


def hgcn_links(folder: str | os.PathLike[str], name: str, seed: int = 0) -> LinkDataModule:
    """Return 85 % of a graph's links to train, 5 to validate and 10 to test on.

    - "disease_lp": a tree of 2,665 people by who infected whom, with 11 features;
    - "airport": 3,188 airports and 18,630 routes, with 4 features and degrees;
    - "cora": 2,708 papers and 5,278 citations, with 1,433 words, there (1) or not (0).

    Args:
        folder: Of ``NAME.npz``.
        name: Of the graph.
        seed: Of the split.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the graph is none of these, or the file is another one.

    Source: Chami, Ying, Re & Leskovec 2019, Hyperbolic graph convolutional neural networks.
    """
    if name not in (names := ("disease_lp", "airport", "cora")):
        raise ValueError(f"hgcn_links: expected one of {', '.join(names)}, but got {name!r}.")
    arrays = _read(folder, name)
    x = normalised_rows(arrays).sign() if name == "cora" else torch.from_numpy(arrays["x"])
    return LinkDataModule(x, torch.from_numpy(arrays["edges"]).long(), degrees=name == "airport", seed=seed)


class _SplitBySeed(NodeDataModule):
    """A graph whose nodes are split at random."""

    name: str
    shares: tuple[float, float]

    def __init__(self, folder: str | os.PathLike[str], seed: int = 0) -> None:
        super().__init__()
        self.folder, self.seed = Path(folder), seed

    def read(self) -> tuple[Samples, Mapping[str, Tensor]]:
        """Return the graph and its labels, and the nodes of each part."""
        arrays = _read(self.folder, self.name)
        labels, index = torch.from_numpy(arrays["y"]).long(), undirected(arrays["edges"])
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(self.seed))
        train, val = (int(share * len(labels)) for share in self.shares)
        parts = order.split([train, val, len(labels) - train - val])
        return (self._features(arrays, index), index, labels), dict(zip(("train", "val", "test"), parts, strict=True))

    def _features(self, arrays: Mapping[str, NDArray[Any]], index: Tensor) -> Tensor:
        raise NotImplementedError


class DiseaseNodes(_SplitBySeed):
    """Who of 1,044 people, a tree by who met whom, was infected: inputs x ``[n, 1044]``, ``edge_index``.

    The published features did not come with the graph: x is the identity, so that results are not those of the paper.
    30 % of the people are to train, 10 to validate and 60 to test. Most, .798, were not infected.

    Args:
        folder: Of ``disease_nc.npz``, with ``edges [e, 2]`` and ``y [n]``.
        seed: Of the split.

    Source: Chami, Ying, Re & Leskovec 2019, Hyperbolic graph convolutional neural networks.
    """

    name, num_classes, shares = "disease_nc", 2, (0.3, 0.1)

    def _features(self, arrays: Mapping[str, NDArray[Any]], index: Tensor) -> Tensor:
        return torch.eye(len(arrays["y"]))


class AirportNodes(_SplitBySeed):
    """How populous a country 3,188 airports are in, four classes: inputs x ``[n, 11]``, ``edge_index``.

    x has four published features, the degree one-hot (5 and more are one) and a constant. 70 % of the airports are to
    train, 15 to validate and 15 to test.

    Args:
        folder: Of ``airport.npz``, with ``edges [e, 2]``, ``x [n, 4]`` and ``y [n]``.
        seed: Of the split.

    Source: Chami, Ying, Re & Leskovec 2019, Hyperbolic graph convolutional neural networks.
    """

    name, num_classes, shares = "airport", 4, (0.7, 0.15)

    def _features(self, arrays: Mapping[str, NDArray[Any]], index: Tensor) -> Tensor:
        return with_degrees(torch.from_numpy(arrays["x"]), index)
