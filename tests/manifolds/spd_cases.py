"""Positive definite matrices of a given condition, near and far, and the geometries that the tests compare."""

import torch
from torch import Tensor

from isometry.manifolds import SPDAffineInvariant, SPDLogCholesky, SPDLogEuclidean
from isometry.manifolds._spd import SPD
from tests.manifolds.reference_spd import AffineInvariant, LogCholesky, LogEuclidean

N = 5
GEOMETRIES = [
    (SPDAffineInvariant(N), AffineInvariant()),
    (SPDLogEuclidean(N), LogEuclidean()),
    (SPDLogCholesky(N), LogCholesky()),
]


def name(value: object) -> str | None:
    return type(value).__name__ if isinstance(value, SPD) else None


def spd(cond: float, seed: int, n: int = N) -> Tensor:
    """A matrix with eigenvalues between ``cond^-1/2`` and ``cond^1/2``, in a random basis."""
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    values = cond ** torch.linspace(-0.5, 0.5, n, dtype=torch.float64)
    x = (basis * values) @ basis.mT
    return (x + x.mT) / 2


def pair(cond: float, separation: float | None, seed: int, n: int = N) -> tuple[Tensor, Tensor]:
    """Two matrices of the given condition: the second near the first, in its own scale, or (None) anywhere."""
    x = spd(cond, seed, n)
    if separation is None:
        return x, spd(cond, seed + 1000, n)
    noise = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    lower = torch.linalg.cholesky(x)
    step = lower @ (noise + noise.mT) @ lower.mT * (separation / torch.linalg.matrix_norm(noise + noise.mT))
    return x, x + (step + step.mT) / 2
