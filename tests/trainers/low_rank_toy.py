"""A small net with a low-rank layer, a linear map and a point on a sphere, whose ranks change as it trains."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from isometry.layers.tensor import Linear
from isometry.manifolds import Sphere, register_manifold
from isometry.trainers import Classification
from isometry.trainers.data import TensorDataModule
from isometry.trainers.optim import LowRankOptimizer

PARALLEL: dict[str, Any] = {"integrator": "parallel_bug", "tol": 0.35, "lr": 0.2, "momentum": 0.5}
AUGMENTED: dict[str, Any] = {"integrator": "augmented_bug", "tol": 0.15, "lr": 0.2, "n_local": 2}


class Blobs(TensorDataModule):
    """Three classes of points in R^12."""

    num_classes = 3

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(batch_size=16, seed=0)
        self.dtype = dtype

    def read(self) -> Any:
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(160) % 3
        centers = torch.randn(3, 12, generator=generator, dtype=torch.float64)
        x = centers[labels] + torch.randn(160, 12, generator=generator, dtype=torch.float64)
        return (x.to(self.dtype), labels), {"train": slice(0, 96), "val": slice(96, 128), "test": slice(128, 160)}


class Net(nn.Module):
    """Logits."""

    def __init__(self, rank: int, max_rank: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.body = Linear(12, 16, rank, max_rank=max_rank, tangent_grad=True, dtype=dtype)
        self.head = nn.Linear(16, 3, dtype=dtype)
        self.scale = nn.Parameter(Sphere(2).random(3, dtype=dtype))
        register_manifold(self, "scale", Sphere(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).tanh()) * self.scale


def task(
    seed: int = 0, *, rank: int = 6, max_rank: int = 12, dtype: torch.dtype = torch.float64, **options: Any
) -> Classification:
    torch.manual_seed(seed)
    return Classification(Net(rank, max_rank, dtype), 3, partial(LowRankOptimizer, **(options or PARALLEL)))
