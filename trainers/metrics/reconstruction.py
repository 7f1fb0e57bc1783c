"""How well distances reconstruct a graph: mean rank and mean average precision."""

from typing import Any

import torch
from torch import Tensor

from isometry.trainers.data import Graph
from isometry.trainers.metrics._graph_metric import GraphMetric


class Reconstruction(GraphMetric):
    r"""Mean rank and mean average precision (MAP) of a graph's edges, when each node ranks all others by distance.

    With N(u) the nodes to which an edge leads from u, and :math:`b(u, v)` the number of nodes neither u nor in N(u)
    which are no farther from u than v is,

    .. math:: \text{rank}(u, v) = 1 + b(u, v), \qquad
        AP(u) = \frac{1}{|N(u)|} \sum_{v \in N(u)} \frac{a(u, v)}{a(u, v) + b(u, v)}

    where :math:`a(u, v)` counts the nodes of N(u) no farther than v, itself included. The mean rank is over edges, MAP
    over the nodes that have any. Ties count against the embedding, as in scikit-learn's ``average_precision_score``; a
    collapsed embedding scores worst and not best.

    Rows come in chunks, in any order. If only a random sample of nodes is given, the values are estimates, and the
    standard errors say how good; they are 0 when all nodes were given. ::

        metric = Reconstruction(graph)
        for nodes in torch.arange(graph.num_nodes).split(512):
            metric.update(nodes, manifold.dist(x[nodes].unsqueeze(1), x))
        metric.compute()  # {"map": ..., "map_error": ..., "mean_rank": ..., "mean_rank_error": ...}

    Args:
        graph: The graph, numbered as in the embedding.

    Source: Nickel & Kiela 2017, section 4; Sala et al. 2018, section 2.
    """

    higher_is_better = None
    nodes: Tensor
    map_sum: Tensor
    map_square: Tensor
    edges: Tensor
    edges_square: Tensor
    rank_sum: Tensor
    rank_square: Tensor
    rank_edges: Tensor

    def __init__(self, graph: Graph, **kwargs: Any) -> None:
        super().__init__(graph, **kwargs)
        for name in (
            "nodes",
            "map_sum",
            "map_square",
            "edges",
            "edges_square",
            "rank_sum",
            "rank_square",
            "rank_edges",
        ):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def _add(self, nodes: Tensor, distances: Tensor) -> None:
        precision, rank, count = _ranks(self.graph, nodes, distances)
        self.nodes += (count > 0).sum()
        self.map_sum += precision.sum()
        self.map_square += precision.square().sum()
        self.edges += count.sum()
        self.edges_square += count.square().sum()
        self.rank_sum += rank.sum()
        self.rank_square += rank.square().sum()
        self.rank_edges += (rank * count).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return MAP and mean rank with their standard errors.

        Raises:
            ValueError: If no given node has an edge.
        """
        if not self.nodes:
            raise ValueError("Reconstruction: no row of a node with edges was given.")
        mean_ap, mean_rank = self.map_sum / self.nodes, self.rank_sum / self.edges
        population = int((self.graph.offsets.diff() > 0).sum())
        # of a sample without replacement; for the rank, which is a ratio, that of rank - mean_rank * count
        scale = (1 - self.nodes / population).clamp(min=0) / (self.nodes - 1).clamp(min=1)
        spread = self.map_square / self.nodes - mean_ap**2
        residual = self.rank_square - 2 * mean_rank * self.rank_edges + mean_rank**2 * self.edges_square
        return {
            "map": mean_ap,
            "map_error": (scale * spread).clamp(min=0).sqrt(),
            "mean_rank": mean_rank,
            "mean_rank_error": (scale * residual * self.nodes).clamp(min=0).sqrt() / self.edges,
        }


def _ranks(graph: Graph, nodes: Tensor, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each node's average precision, the sum of the ranks of its edges, and their number, in float64."""
    nodes = nodes.cpu()
    position, successor = (index.to(distances.device) for index in graph.successors(nodes))
    count = graph.offsets.diff()[nodes].to(distances.device)
    width = int(count.max()) if len(count) else 0
    slot = torch.arange(len(position), device=count.device) - (count.cumsum(0) - count)[position]

    # distances to the neighbours in increasing order, each row padded by inf
    near = distances.new_full((len(nodes), width), torch.inf)
    near[position, slot] = distances[position, successor]
    near = near.sort(1).values
    own = distances.gather(1, nodes.to(distances.device).unsqueeze(1))

    # a node adds 1 to the first neighbour that is no nearer than itself, hence to all after that
    first = torch.searchsorted(near, distances.contiguous())
    within = near.new_zeros(len(nodes), width + 1, dtype=torch.int64)
    within.scatter_add_(1, first, torch.ones_like(first[:1, :1]).expand_as(first))
    within = within.cumsum(1)[:, :width] - (own <= near).long()
    hits = torch.minimum(torch.searchsorted(near, near, right=True), count.unsqueeze(1))
    real = torch.arange(width, device=count.device) < count.unsqueeze(1)
    precision = torch.where(real, hits / within.double(), 0).sum(1) / count.clamp(min=1)
    rank = torch.where(real, 1 + within - hits, 0).sum(1)
    return precision, rank.double(), count.double()
