"""How far distances are from those of the graph."""

from typing import Any

import torch
from torch import Tensor

from isometry.trainers.data import Graph
from isometry.trainers.metrics._graph_metric import GraphMetric


class Distortion(GraphMetric):
    r"""Average and worst-case distortion of an embedding, against the numbers of edges between the nodes.

    .. math:: D_{avg} = \frac{1}{|P|} \sum_{(u, v) \in P} \frac{|d(u, v) - d_G(u, v)|}{d_G(u, v)}, \qquad
        D_{wc} = \frac{\max_P d / d_G}{\min_P d / d_G}

    over the pairs P of distinct nodes that a path joins; edges count in both directions. ``D_avg`` depends on the
    scale of the embedding, ``D_wc`` does not: it is 1 at best, and inf where two nodes coincide. Rows come in chunks; a
    random sample of nodes estimates ``D_avg`` and bounds ``D_wc`` from below.

    Args:
        graph: The graph, numbered as in the embedding.

    Source: Sala, De Sa, Gu & Re 2018, section 2.
    """

    higher_is_better = False
    error_sum: Tensor
    pairs: Tensor
    largest: Tensor
    smallest: Tensor

    def __init__(self, graph: Graph, **kwargs: Any) -> None:
        super().__init__(graph, **kwargs)
        self.add_state("error_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pairs", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("largest", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="max")
        self.add_state("smallest", torch.tensor(torch.inf, dtype=torch.float64), dist_reduce_fx="min")

    def _add(self, nodes: Tensor, distances: Tensor) -> None:
        hops = self.graph.hop_distances(nodes.cpu()).to(distances.device)
        pairs = (hops > 0) & hops.isfinite()
        ratio = (distances[pairs] / hops[pairs]).double()
        self.error_sum += (ratio - 1).abs().sum()
        self.pairs += ratio.numel()
        self.largest = torch.maximum(self.largest, ratio.max()) if ratio.numel() else self.largest
        self.smallest = torch.minimum(self.smallest, ratio.min()) if ratio.numel() else self.smallest

    def compute(self) -> dict[str, Tensor]:
        """Return average and worst-case distortion.

        Raises:
            ValueError: If no given node is joined to another.
        """
        if not self.pairs:
            raise ValueError("Distortion: no row of a node that is joined to another was given.")
        return {"distortion": self.error_sum / self.pairs, "worst_distortion": self.largest / self.smallest}
