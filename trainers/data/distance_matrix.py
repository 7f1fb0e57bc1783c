"""A matrix of distances, some of which may be unknown."""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isometry.trainers.data.graph import Graph


class DistanceMatrix(Graph):
    """Distances between all, or some, pairs of nodes, in the place of those that a graph's edges give.

    Its edges are the known pairs. ``DistanceDataModule`` trains on them, and ``Distortion`` judges by them::

        known = torch.rand(n, n) < 0.5
        DistanceDataModule(DistanceMatrix(distances, known | known.T))

    Args:
        distances: Symmetric; positive and finite where known. The diagonal counts as 0.
        known: Which are; the others may be anything, NaN too. All are by default.
        names: A name for each node; the numbers where none are given.

    Raises:
        ValueError: If a known distance is not positive and finite, or differs in the two directions.
    """

    def __init__(
        self, distances: Float[Tensor, "n n"], known: Bool[Tensor, "n n"] | None = None, names: Iterable[str] = ()
    ) -> None:
        n = len(distances)
        if distances.shape != (n, n) or (known is not None and known.shape != (n, n)):
            raise ValueError(
                f"DistanceMatrix: expected square matrices of one size, but got {list(distances.shape)}"
                + ("." if known is None else f" and {list(known.shape)}.")
            )
        pairs = torch.ones(n, n, dtype=torch.bool) if known is None else known.clone()
        pairs.fill_diagonal_(False)
        if (bad := pairs & ~((distances > 0) & distances.isfinite())).any():
            i, j = bad.nonzero()[0].tolist()
            raise ValueError(
                f"DistanceMatrix: expected positive, finite distances, but that of {i} and {j} is "
                f"{float(distances[i, j])}; make nodes at distance 0 one, and mark pairs that no path joins as unknown."
            )
        self.distances = torch.where(pairs, distances, torch.inf).fill_diagonal_(0)
        if (other := self.distances != self.distances.mT).any():
            i, j = other.nonzero()[0].tolist()
            raise ValueError(
                f"DistanceMatrix: expected a symmetric matrix, but from {i} to {j} it is {float(self.distances[i, j])} "
                f"and back {float(self.distances[j, i])}; take (d + d.T)/2 and known | known.T."
            )
        super().__init__(pairs.nonzero(), n, names)

    def hop_distances(self, nodes: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Return the given distances from ``nodes`` to every node; inf where they are unknown."""
        return self.distances[nodes]
