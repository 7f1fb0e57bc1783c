"""Functions and geometries of positive definite matrices from one eigendecomposition, as textbooks write them."""

from collections.abc import Callable

import torch
from torch import Tensor


def spectral(x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
    values, vectors = torch.linalg.eigh(x)
    return vectors @ (f(values).unsqueeze(-1) * vectors.mT)


class BuresWasserstein:
    """The closed forms of Wang et al. 2025 at commuting points, and Alvarez-Esteban's fixed point."""

    @staticmethod
    def mean(x: Tensor) -> Tensor:
        mean = x.mean(0)
        for _ in range(60):
            root, back = spectral(mean, torch.sqrt), spectral(mean, lambda v: v**-0.5)
            inner = spectral(root @ x @ root, torch.sqrt).mean(0)
            mean = back @ inner @ inner @ back
        return mean

    @staticmethod
    def log(p: Tensor, x: Tensor) -> Tensor:
        root, back = spectral(p, torch.sqrt), spectral(p, lambda v: v**-0.5)
        half = root @ spectral(root @ x @ root, torch.sqrt) @ back
        return half + half.mT - 2 * p

    @staticmethod
    def exp(p: Tensor, v: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(p)
        lift = vectors @ (vectors.mT @ v @ vectors / (values.unsqueeze(-1) + values)) @ vectors.mT
        return p + v + lift @ p @ lift

    @staticmethod
    def transport(p: Tensor, v: Tensor, to_identity: bool) -> Tensor:
        values, vectors = torch.linalg.eigh(p)
        factor = ((values.unsqueeze(-1) + values) / 2).sqrt()
        v = vectors.mT @ v @ vectors
        return vectors @ (v / factor if to_identity else v * factor) @ vectors.mT
