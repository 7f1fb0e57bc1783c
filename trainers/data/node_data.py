"""The Lightning data module of one graph, some of whose nodes have a label."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from isometry.trainers.data.sample_batches import Samples

_IGNORED = -100  # as Classification ignores it


class WholeGraph:
    """A loader of one batch, the whole graph. Every process has it: the mean of their losses is that of one."""

    def __init__(self, graph: Samples) -> None:
        self.graph = graph

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Samples]:
        yield self.graph


class NodeDataModule(pl.LightningDataModule, ABC):
    """One graph and labels of its nodes, those of a part (``train``, ``val`` or ``test``) at a time.

    A batch is ``(*inputs, labels)`` with the same inputs in all parts, all that a network takes, and labels ``[n]``
    that are -100 for the nodes of other parts: all nodes are seen in training, but not all labels. A subclass says how
    they are read, which happens once.
    """

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Number of classes; labels are 0 to ``num_classes - 1``."""

    @abstractmethod
    def read(self) -> tuple[Samples, Mapping[str, Tensor]]:
        """Return inputs and labels of all nodes, and the nodes of each part that has some."""

    @cached_property
    def parts(self) -> dict[str, Samples]:
        """The inputs, the same in all, and the labels of ``train``, ``val`` and ``test``.

        Raises:
            ValueError: If a node is in two parts, or a label is no class.
        """
        (*inputs, labels), nodes = self.read()
        name = type(self).__name__
        counts = torch.bincount(torch.cat(list(nodes.values())), minlength=len(labels))
        if counts.max() > 1:
            raise ValueError(f"{name}: expected every node once in one part, but node {int(counts.argmax())} is not.")
        if not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(
                f"{name}: expected labels 0 to {self.num_classes - 1}, but got {labels.min()} to {labels.max()}."
            )
        return {
            part: (*inputs, torch.full_like(labels, _IGNORED).index_copy(0, rows, labels[rows]))
            for part, rows in nodes.items()
        }

    def setup(self, stage: str) -> None:
        """Read the graph, or fail, before anything is trained."""
        _ = self.parts

    def train_dataloader(self) -> WholeGraph:
        """Return the graph with the labels to train on."""
        return WholeGraph(self.parts["train"])

    def val_dataloader(self) -> WholeGraph | list[WholeGraph]:
        """Return the graph with the labels to validate on."""
        return WholeGraph(self.parts["val"]) if "val" in self.parts else []

    def test_dataloader(self) -> WholeGraph | list[WholeGraph]:
        """Return the graph with the labels to test on."""
        return WholeGraph(self.parts["test"]) if "test" in self.parts else []


SPARSE_ROWS: dict[str, tuple[int | None, ...]] = {
    "x_data": (None,),
    "x_indices": (None,),
    "x_indptr": (None,),
    "x_shape": (2,),
}
"""The arrays of a sparse matrix in an archive."""


def normalised_rows(arrays: Mapping[str, NDArray[Any]]) -> Tensor:
    """Return the matrix of the arrays ``SPARSE_ROWS``, dense, its rows with the sum 1 (or 0)."""
    data, indices, pointers = (torch.from_numpy(arrays[f"x_{name}"]) for name in ("data", "indices", "indptr"))
    rows = torch.arange(len(pointers) - 1).repeat_interleave(pointers.diff())
    x = torch.zeros(tuple(arrays["x_shape"].tolist())).index_put((rows, indices.long()), data.float())
    return x / x.sum(1, keepdim=True).clamp_min(1)


def undirected(edges: NDArray[Any]) -> Tensor:
    """Return pairs ``[e, 2]`` as ``[2, 2 e]``, each in both directions."""
    pairs = torch.from_numpy(edges).long().mT
    return torch.cat([pairs, pairs.flip(0)], 1)
