"""What the metrics of a graph's embedding share: they take rows of the distance matrix."""

from abc import abstractmethod
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric

from isometry.trainers.data import Graph


class GraphMetric(Metric):
    """A metric that takes the matrix of distances between a graph's nodes, some rows at a time and in any order.

    Args:
        graph: The graph, numbered as in the embedding.
    """

    full_state_update = False

    def __init__(self, graph: Graph, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.graph = graph

    def update(self, nodes: Int[Tensor, " b"], distances: Float[Tensor, "b n"]) -> None:
        """Add the rows of some nodes.

        Args:
            nodes: Their numbers.
            distances: From each of them to every node.

        Raises:
            ValueError: If the shape is another, or a distance is NaN.
        """
        expected = (len(nodes), self.graph.num_nodes)
        if distances.shape != expected:
            raise ValueError(
                f"{type(self).__name__}: expected distances {expected}, but got {tuple(distances.shape)}; is the graph "
                "the one that was embedded?"
            )
        if (bad := distances.isnan().any(1)).any():
            raise ValueError(f"{type(self).__name__}: a distance from node {int(nodes[bad][0])} is NaN.")
        self._add(nodes, distances)

    @abstractmethod
    def _add(self, nodes: Tensor, distances: Tensor) -> None: ...
