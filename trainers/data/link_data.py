"""The Lightning data module of one graph, some of whose edges are hidden."""

from collections.abc import Iterator
from functools import cached_property

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from isometry.trainers.data.epochs import Epochs
from isometry.trainers.data.graph import Graph
from isometry.trainers.data.node_data import WholeGraph

LinkBatch = tuple[Tensor, Tensor, Tensor, Tensor]
_LARGEST_DEGREE = 5  # degrees above it are one class


def with_degrees(x: Tensor, edge_index: Tensor) -> Tensor:
    """Return features ``[n, d]`` with one-hot degrees (5 and more are one) and a constant."""
    degree = edge_index[0].bincount(minlength=len(x)).clamp(max=_LARGEST_DEGREE)
    return torch.cat([x, one_hot(degree, _LARGEST_DEGREE + 1).to(x.dtype), x.new_ones(len(x), 1)], 1)


class LinkDataModule(pl.LightningDataModule):
    """Links and as many non-links to tell apart, for a network that sees the links to train on only.

    A batch is ``(x, edge_index, pairs [m, 2], joined [m])``: features, the links to train on in both directions, and
    pairs with whether they are links. There is one for an epoch, and every process has it. The non-links to train on
    are new in every epoch, and may be hidden links, as the network cannot know; those to validate and test on are not.

    Args:
        features: Of the nodes, ``[n, d]``.
        edges: Pairs of distinct nodes ``[e, 2]``; direction and repetition do not matter.
        val_fraction: Share of the edges to validate on.
        test_fraction: Share of the edges to test on.
        degrees: Add one-hot degrees among the links to train on (5 and more are one) and a constant to the features.
        seed: Of the split and the non-links.

    Raises:
        ValueError: If a share is empty or none is left, or an edge does not fit the features.

    Source: Chami, Ying, Re & Leskovec 2019, appendix (shares, and the degrees of the airports' graph).
    """

    def __init__(
        self,
        features: Tensor,
        edges: Tensor,
        val_fraction: float = 0.05,
        test_fraction: float = 0.1,
        degrees: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        graph = Graph(edges.sort(1).values, len(features))
        sizes = [int(len(graph.edges) * fraction) for fraction in (val_fraction, test_fraction)]
        if min(sizes) < 1 or sum(sizes) >= len(graph.edges):
            raise ValueError(
                f"LinkDataModule: expected shares of the {len(graph.edges)} edges with some to train, validate and "
                f"test on, but got val_fraction={val_fraction} and test_fraction={test_fraction}."
            )
        self.features, self.graph, self.degrees, self.seed = features, graph, degrees, seed
        self._sizes = [*sizes, len(graph.edges) - sum(sizes)]

    @cached_property
    def parts(self) -> dict[str, Tensor]:
        """The links of each part, ``[m, 2]``."""
        order = torch.randperm(len(self.graph.edges), generator=torch.Generator().manual_seed(self.seed))
        return dict(zip(("val", "test", "train"), self.graph.edges[order].split(self._sizes), strict=True))

    @cached_property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """What the network takes: features ``[n, d]`` and the links to train on in both directions, ``[2, e]``."""
        index = torch.cat([self.parts["train"], self.parts["train"].flip(1)]).mT.contiguous()
        x = self.features
        if self.degrees:
            x = with_degrees(x, index)
        return x, index

    def non_links(self, count: int, hidden_from: Graph, generator: torch.Generator) -> Tensor:
        """Return so many pairs ``u < v``, uniform among those that are no edges of a graph, with repetition."""
        n, found = len(self.features), torch.empty(0, 2, dtype=torch.int64)
        while len(found) < count:
            pairs = torch.randint(n, (2 * count, 2), generator=generator).sort(1).values
            keys = pairs[:, 0] * n + pairs[:, 1]
            free = (pairs[:, 0] < pairs[:, 1]) & ~torch.isin(keys, hidden_from.keys)
            found = torch.cat([found, pairs[free]])
        return found[:count]

    def batch(self, part: str, hidden_from: Graph, generator: torch.Generator) -> LinkBatch:
        """Return the links of a part and as many pairs that are no edges of a graph."""
        links = self.parts[part]
        pairs = torch.cat([links, self.non_links(len(links), hidden_from, generator)])
        return (*self.inputs, pairs, torch.arange(len(pairs)) < len(links))

    def setup(self, stage: str) -> None:
        """Refuse a graph of which all pairs are links, before non-links are looked for."""
        n = len(self.features)
        if len(self.graph.edges) == n * (n - 1) // 2:
            raise ValueError("LinkDataModule: expected a graph with pairs that are no links, but all nodes are joined.")

    def train_dataloader(self) -> "LinkEpochs":
        """Return the links to train on, with new non-links in every epoch."""
        return LinkEpochs(self)

    def _held_out(self, part: str, stream: int) -> WholeGraph:
        return WholeGraph(self.batch(part, self.graph, torch.Generator().manual_seed(2 * self.seed + stream)))

    def val_dataloader(self) -> WholeGraph:
        """Return the pairs to validate on."""
        return self._held_out("val", 0)

    def test_dataloader(self) -> WholeGraph:
        """Return the pairs to test on."""
        return self._held_out("test", 1)


class LinkEpochs(Epochs):
    """One batch for each epoch: the links to train on, and non-links that follow from the epoch's number."""

    def __init__(self, data: LinkDataModule) -> None:
        self.data = data
        self.seen = Graph(data.parts["train"], len(data.features))
        super().__init__([1], {"num_nodes": len(data.features), "num_links": len(self.seen.edges)}, data.seed)

    def items(self, epoch: int, start: int) -> Iterator[LinkBatch]:
        """Yield the epoch's batch."""
        yield self.data.batch("train", self.seen, self.generator(epoch))
