"""Retrieval by the nearest neighbours."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric


class CMC(Metric):
    r"""Cumulative matching characteristic at k: the share of queries with one of their class among the k nearest.

    A new representation is compatible with an old one if its queries find more in the old gallery than the old
    queries do, ``CMC(new queries, old gallery) > CMC(old queries, old gallery)``: then the gallery need not be computed
    anew. Ties count against the query.

    Args:
        k: How many of the nearest count, at least 1.

    Source: Shen et al. 2020, Towards backward-compatible representation learning.
    """

    full_state_update = False
    higher_is_better = True
    found: Tensor
    queries: Tensor

    def __init__(self, k: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise ValueError(f"CMC: expected k >= 1, but got {k}.")
        self.k = k
        self.add_state("found", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("queries", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, distances: Float[Tensor, "q g"], labels: Int[Tensor, " q"], gallery_labels: Int[Tensor, " g"]
    ) -> None:
        """Add some queries.

        Args:
            distances: From each query to every item of the gallery; infinite to an item that shall not count, such as
                the query itself.
            labels: Classes of the queries.
            gallery_labels: Classes of the items.

        Raises:
            ValueError: If the shapes do not fit, or a distance is NaN.
        """
        expected = (len(labels), len(gallery_labels))
        if distances.shape != expected:
            raise ValueError(f"CMC: expected distances {expected}, but got {tuple(distances.shape)}.")
        if distances.isnan().any():
            raise ValueError("CMC: a distance is NaN.")
        same = labels.unsqueeze(1) == gallery_labels
        nearest = distances.masked_fill(~same, torch.inf).amin(1, keepdim=True)
        before = ((distances <= nearest) & ~same).sum(1)
        self.found += ((before < self.k) & nearest.squeeze(1).isfinite()).sum()
        self.queries += len(labels)

    def compute(self) -> Tensor:
        """Return the share of queries that found their class.

        Raises:
            ValueError: If no query was given.
        """
        if not self.queries:
            raise ValueError("CMC: no query was given.")
        return self.found / self.queries
