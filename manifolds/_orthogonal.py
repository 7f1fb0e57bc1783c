"""Uniform random rotations, from which the space forms build their isometries."""

import torch
from torch import Tensor


def random_orthogonal(n: int, generator: torch.Generator | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Return an (n, n) orthogonal matrix from the Haar measure (QR with the signs of R fixed; Mezzadri 2007)."""
    q, r = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=dtype))
    return q * r.diagonal().sign()
