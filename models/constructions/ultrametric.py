"""The ultrametric of single linkage."""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.models.constructions._distance_matrix import check_distances
from isometry.models.constructions.minimum_spanning_tree import prim_edges


def single_linkage_ultrametric(distances: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    r"""Return the largest ultrametric below ``distances``: ``u_ij``, the least over all paths of a path's longest step.

    It is the height at which single linkage joins i and j, and the functor from metric to ultrametric spaces: maps that
    bring no points farther apart stay such, and ``|u - u'|_inf <= |d - d'|_inf``. Prim's algorithm adds the points one
    by one; a new point is as far from the others as the one that it hangs on, or as the step to that: n^2 in time and
    memory.

    Args:
        distances: Symmetric, non-negative, 0 on the diagonal.

    Raises:
        ValueError: If the matrix is no matrix of distances.

    Source: Carlsson & Memoli 2010; Shiebler 2021.
    """
    check_distances("single_linkage_ultrametric", distances)
    result = torch.zeros_like(distances)
    joined = torch.zeros(len(distances), dtype=torch.bool, device=distances.device)
    joined[:1] = True
    for old, new in prim_edges(distances):
        row = torch.where(joined, torch.maximum(result[old], distances[old, new]), 0)
        result[new], result[:, new] = row, row
        joined[new] = True
    return result
