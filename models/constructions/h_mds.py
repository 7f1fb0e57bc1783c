"""Points of hyperbolic space from all their distances, by one eigendecomposition."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.manifolds import Lorentz, PoincareBall
from isometry.models.constructions._distance_matrix import check_distances

_LARGEST = 700.0  # exp of more is infinite in float64


def h_mds(distances: Float[Tensor, "n n"], manifold: PoincareBall | Lorentz) -> Float[Tensor, "n m"]:
    r"""Return points of ``manifold`` (curvature -c) whose distances are those given, or near them.

    For points with spatial parts s and times t on the hyperboloid, ``-cosh(sqrt(c) d_ij) = c s_i s_j - t_i t_j`` has
    one negative eigenvalue and as many positive ones as dimensions. The largest positive ones and their eigenvectors
    are the spatial parts, ``sqrt(c) S = V sqrt(Lambda)``: exactly, up to rounding, if the distances are those of points
    of the space; else what is left out is the error. The curvature is the scale: with small c nearby points keep their
    distances, with large c a tree is better told from a flat space.

    Args:
        distances: Symmetric, non-negative, 0 on the diagonal, ``sqrt(c) d`` at most 700.
        manifold: Where the points are to be.

    Returns:
        Points in the format of ``distances``; the computation is in float64.

    Raises:
        ValueError: If the matrix is no matrix of distances, or ``sqrt(c) d`` is above 700.

    Source: Sala, De Sa, Gu & Re 2018.
    """
    check_distances("h_mds", distances)
    c = float(torch.as_tensor(manifold.c, dtype=torch.float64).detach())
    if (largest := math.sqrt(c) * float(distances.max())) > _LARGEST:
        raise ValueError(
            f"h_mds: expected sqrt(c) d of at most {_LARGEST:.0f}, but got {largest:.4g}; choose a smaller curvature."
        )
    gram = (math.sqrt(c) * distances.double()).cosh_().neg_()
    values, vectors = torch.linalg.eigh(gram)
    chosen = values.abs().topk(min(manifold.dim + 1, len(values))).indices.sort().values.flip(0)[: manifold.dim]
    spatial = vectors[:, chosen] * (values[chosen].clamp_min(0) / c).sqrt()
    spatial = torch.nn.functional.pad(spatial, (0, manifold.dim - spatial.shape[1]))
    return manifold.from_spatial(spatial.to(distances.dtype))
