"""The minimum spanning tree of a matrix of distances."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isometry.models.constructions._distance_matrix import check_distances


def minimum_spanning_tree(distances: Float[Tensor, "n n"]) -> Int[Tensor, "m 2"]:
    r"""Return the ``n - 1`` edges of a spanning tree of least length, in the order in which Prim's algorithm adds them.

    A row is (a point of the tree so far, the new point that hangs on it), and the tree begins with point 0; n^2 in
    time. Where distances are equal there are several such trees of the same length.

    Args:
        distances: Symmetric, non-negative, 0 on the diagonal.

    Raises:
        ValueError: If the matrix is no matrix of distances.

    Source: Prim 1957, Shortest connection networks and some generalizations.
    """
    check_distances("minimum_spanning_tree", distances)
    return prim_edges(distances)


@torch.no_grad()
def prim_edges(distances: Float[Tensor, "n n"]) -> Int[Tensor, "m 2"]:
    """Return the edges of ``minimum_spanning_tree`` for a matrix that is one of distances."""
    step = distances[0].clone() if len(distances) else distances.new_zeros(0)
    outside = torch.arange(len(distances), device=distances.device) > 0
    nearest = torch.zeros(len(distances), dtype=torch.int64, device=distances.device)
    edges = []
    for _ in range(len(distances) - 1):
        new = step.where(outside, torch.inf).argmin()
        edges.append(torch.stack([nearest[new], new]))
        outside[new] = False
        closer = distances[new] < step
        step, nearest = torch.where(closer, distances[new], step), torch.where(closer, new, nearest)
    return torch.stack(edges) if edges else nearest.new_zeros(0, 2)
