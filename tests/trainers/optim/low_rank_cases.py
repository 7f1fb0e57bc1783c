"""A low-rank tensor as a module whose backward gives tangent coordinates, and descent on it in dense matrices."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isometry.manifolds.low_rank import FixedRankMatrix, FixedRankTucker, LowRankManifold, register_low_rank


class Reconstruct(torch.autograd.Function):
    """The dense tensor; backward, the blocks of the projected gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Any, *leaves: Tensor) -> Tensor:
        ctx.tensor = tensor
        return tensor.manifold.to_dense(tensor.manifold.point(leaves))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        m = ctx.tensor.manifold
        return None, *ctx.tensor.padded(m.leaves(m.project(ctx.tensor.point(), g)))


class LowRankTensor(nn.Module):
    """A tensor of adaptive rank."""

    def __init__(
        self,
        manifold: LowRankManifold[Any, Any],
        ranks: Any,
        room: Any,
        dtype: torch.dtype = torch.float64,
        **options: Any,
    ) -> None:
        super().__init__()
        self.tangent_grad = True
        self.leaves = nn.ParameterList(torch.zeros(s, dtype=dtype) for s in manifold.leaf_shapes(room))
        names = [f"leaves.{k}" for k in range(len(self.leaves))]
        self.tensor = [register_low_rank(self, names, manifold)]
        self.handle.write(manifold.random(ranks, dtype=dtype, **options))

    @property
    def handle(self) -> Any:
        module = self.tensor[0]
        return module._replace(module=self)

    def forward(self) -> Tensor:
        return Reconstruct.apply(self.handle, *self.leaves)


def matrix(ranks: int = 3, room: int | None = None, **options: Any) -> LowRankTensor:
    return LowRankTensor(FixedRankMatrix(8, 6), ranks, room or ranks, **options)


def tucker(ranks: tuple[int, ...] = (2, 3, 2), **options: Any) -> LowRankTensor:
    return LowRankTensor(FixedRankTucker((5, 6, 4)), ranks, ranks, **options)


def descend(
    optimizer: torch.optim.Optimizer, module: LowRankTensor, loss: Callable[[Tensor], Tensor], steps: int
) -> list[float]:
    """Take steps; return the losses before each."""
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(module())
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    return losses


def quadratic(target: Tensor) -> Callable[[Tensor], Tensor]:
    """``sum_ij c_ij (w - target)_ij^2 / 2`` with weights c between 1/2 and 3/2."""
    weights = torch.linspace(0.5, 1.5, target.numel(), dtype=target.dtype).view_as(target)
    return lambda w: 0.5 * (weights * (w - target).square()).sum()


def truncated(w: Tensor, rank: int) -> Tensor:
    """The best approximation of a matrix."""
    u, s, vh = torch.linalg.svd(w, full_matrices=False)
    return u[:, :rank] * s[:rank] @ vh[:rank]


def blocks(w: Tensor, z: Tensor, rank: int) -> list[Tensor]:
    """``P z P', (1 - P) z P' and P z (1 - P')`` with the projectors on the columns and rows of ``w``."""
    u, _, vh = torch.linalg.svd(w, full_matrices=False)
    p, q = u[:, :rank] @ u[:, :rank].mT, vh[:rank].mT @ vh[:rank]
    return [p @ z @ q, z @ q - p @ z @ q, p @ z - p @ z @ q]
