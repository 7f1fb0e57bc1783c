"""Bases of tangent spaces."""

import torch
from torch import Tensor

from isometry.manifolds.base import Manifold
from isometry.manifolds.testing.case import Case


def gram_matrix(manifold: Manifold, x: Tensor, vectors: Tensor) -> Tensor:
    """Return the inner products ``[b, k, k]`` of k tangent vectors ``[b, k, *point_shape]`` at each ``x``."""
    return manifold.inner(x.unsqueeze(1).unsqueeze(1), vectors.unsqueeze(1), vectors.unsqueeze(2))


def basis(case: Case, x: Tensor) -> Tensor:
    """Return ``dim`` random unit tangent vectors ``[b, dim, *point_shape]`` at each ``x``."""
    return torch.stack([case.tangents(x, seed=seed) for seed in range(case.manifold.dim)], 1)


def orthonormal(case: Case, x: Tensor) -> Tensor:
    """Return an orthonormal frame ``[b, dim, *point_shape]`` of the tangent space at each ``x`` (Cholesky's, twice)."""
    vectors = basis(case, x)
    for _ in range(2):  # the second time exact to rounding, whatever the condition of the random basis
        lower = torch.linalg.cholesky(gram_matrix(case.manifold, x, vectors).detach())
        vectors = torch.linalg.solve_triangular(lower, vectors.flatten(2), upper=False).reshape_as(vectors)
    return vectors
