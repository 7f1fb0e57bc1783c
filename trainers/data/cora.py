"""Cora: the fields of papers, from their words and what joins them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from isometry.trainers.data.archive import read_arrays
from isometry.trainers.data.node_data import SPARSE_ROWS, NodeDataModule, normalised_rows, undirected
from isometry.trainers.data.sample_batches import Samples

_CITATIONS = "Cora's citations and Planetoid's split, from github.com/HazyResearch/hgcn and kimiyoung/planetoid"
_HYPERGRAPH = "Cora as a hypergraph with ten splits, from github.com/malllabiisc/HyperGCN"


class Cora(NodeDataModule):
    """Seven fields of 2,708 papers by the words in them and their citations: inputs x ``[n, 1433]``, ``edge_index``.

    The rows of x have the sum 1; every citation is an edge in both directions, 10,556 in all. 140 papers are to train,
    500 to validate and 1,000 to test.

    Args:
        folder: Of ``cora.npz``, with ``edges [e, 2]``, ``y [n]``, the nodes ``train``, ``val`` and ``test``, and x as
            the arrays ``x_data``, ``x_indices``, ``x_indptr`` and ``x_shape`` of a sparse matrix.

    Source: Sen et al. 2008 (data); Yang, Cohen & Salakhutdinov 2016, Planetoid (split).
    """

    num_classes = 7

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__()
        self.folder = Path(folder)

    def read(self) -> tuple[Samples, Mapping[str, Tensor]]:
        """Return the graph and its labels, and the nodes of each part."""
        shapes = {"edges": (None, 2), "y": (None,), "train": (None,), "val": (None,), "test": (None,), **SPARSE_ROWS}
        arrays = read_arrays(self.folder / "cora.npz", shapes, _CITATIONS)
        nodes = {part: torch.from_numpy(arrays[part]).long() for part in ("train", "val", "test")}
        return (normalised_rows(arrays), undirected(arrays["edges"]), torch.from_numpy(arrays["y"]).long()), nodes


class CoraHypergraph(NodeDataModule):
    """Seven fields of 2,708 papers by the words in them and the hyperedges of those with a common author or citation.

    Inputs x ``[n, 1433]``, whose rows have the sum 1, and ``hyperedge_index [2, k]``. 140 papers are to train, all
    others to test, and there are none to validate.

    Args:
        folder: Of ``coauthorship_cora.npz`` and ``cocitation_cora.npz``, with pairs (hyperedge, node) in
            ``incidence [k, 2]``, ``y [n]``, ``train_splits [10, 140]``, and x as the arrays ``x_data``, ``x_indices``,
            ``x_indptr`` and ``x_shape`` of a sparse matrix.
        relation: What joins the papers of a hyperedge: an author (1,072 hyperedges) or a paper that cites them (1,579).
        split: 0 to 9.
        self_loops: Give each paper a hyperedge of its own, too. Without it 320 papers are in no hyperedge, or 1,274.

    Source: Yadati et al. 2019, HyperGCN (hypergraphs and splits).
    """

    num_classes = 7

    def __init__(
        self,
        folder: str | os.PathLike[str],
        relation: Literal["coauthorship", "cocitation"] = "coauthorship",
        split: int = 0,
        self_loops: bool = True,
    ) -> None:
        super().__init__()
        if relation not in ("coauthorship", "cocitation"):
            raise ValueError(f"CoraHypergraph: expected the relation coauthorship or cocitation, but got {relation!r}.")
        if not 0 <= split < 10:
            raise ValueError(f"CoraHypergraph: expected a split from 0 to 9, but got {split}.")
        self.folder = Path(folder)
        self.relation, self.split, self.self_loops = relation, split, self_loops

    def read(self) -> tuple[Samples, Mapping[str, Tensor]]:
        """Return the hypergraph and its labels, and the nodes of each part."""
        shapes = {"incidence": (None, 2), "y": (None,), "train_splits": (10, None), **SPARSE_ROWS}
        arrays = read_arrays(self.folder / f"{self.relation}_cora.npz", shapes, _HYPERGRAPH)
        labels = torch.from_numpy(arrays["y"]).long()
        index = torch.from_numpy(arrays["incidence"]).long().mT.flip(0)
        if self.self_loops:
            own = torch.arange(len(labels))
            index = torch.cat([index, torch.stack([own, int(index[1].max()) + 1 + own])], 1)
        train = torch.from_numpy(arrays["train_splits"][self.split]).long()
        others = torch.ones(len(labels), dtype=torch.bool).index_fill(0, train, False).nonzero().squeeze(1)
        return (normalised_rows(arrays), index, labels), {"train": train, "test": others}
