"""Products and convolutions with a Tucker tensor, whose backward gives the blocks of a tangent vector, in gauge.

The tensor is written around mode k with the frame ``C_k = Ten_k(Q_k^T)`` of its core: ``C = C_k x_k R_k^T``. What the
core makes of its input is then R_k times what the frame makes, and the block of mode k needs the latter: the former
takes no product with the core of its own.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isometry.layers.tensor._convolve import Geometry, apart, convolution_gradients, convolve, pointwise, together
from isometry.layers.tensor._modes import pull, push
from isometry.layers.tensor._tangent import gauged
from isometry.manifolds.low_rank import FixedRankTucker, TuckerPoint
from isometry.manifolds.low_rank._linalg import fold, leading, pad


@torch.library.custom_op("isometry::tucker_frames", mutates_args=())
def tucker_frames(core: Tensor, ranks: Tensor) -> list[Tensor]:
    """Return ``Ten_k(Q_k^T)``, the core with orthonormal unfolding k, of each mode, in the shape of the core."""
    r = ranks.tolist()
    small = leading(core, r)
    bases = FixedRankTucker(r).core_bases(TuckerPoint(small, ()))
    return [pad(fold(Q.mT, k, r), core.shape) for k, Q in enumerate(bases)]


@tucker_frames.register_fake
def _(core: Tensor, ranks: Tensor) -> list[Tensor]:
    return [torch.empty_like(core) for _ in core.shape]


def weighted(U: Tensor, core: Tensor, frame: Tensor, mode: int) -> Tensor:
    """Return ``U R^T``, with which as factor of the mode the frame gives the tensor itself."""
    others = [k for k in range(core.ndim) if k != mode]
    return U @ torch.tensordot(core, frame, (others, others))


class TuckerProduct(torch.autograd.Function):
    """``y = C x_outs x_ins`` contracted with the modes of x.

    With the frames as matrices of outputs and inputs, and z the input and h the gradient in the bases::

        dC = h^T z,    K_k pairs g with C_k z (outputs) or x with C_k^T h (inputs) in all bases but U_k
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, outs: int, core: Tensor, *others: Tensor) -> Tensor:
        """Return y; ``others`` are the factors and then the frames, those of the outputs first."""
        factors, frames = others[: core.ndim], others[core.ndim :]
        z = pull(x, factors[outs:]).flatten(1)
        b = F.linear(z, as_matrix(frames[0], outs)).unflatten(-1, core.shape[:outs])
        ctx.save_for_backward(x, z, b, core, *others)
        ctx.outs = outs
        return push(b, (weighted(factors[0], core, frames[0], 0), *factors[1:outs]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of x and the blocks."""
        x, z, b, core, *others = ctx.saved_tensors
        a, d = ctx.outs, core.ndim
        factors, frames = others[:d], others[d:]
        h = pull(g, factors[:a]).flatten(1)
        ends = [b, *(F.linear(z, as_matrix(C, a)).unflatten(-1, core.shape[:a]) for C in frames[1:a])]
        starts = [(h @ as_matrix(C, a)).unflatten(-1, core.shape[a:]) for C in frames[a:]]
        K = [*partners(g, factors[:a], ends), *partners(x, factors[a:], starts)]
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = push(starts[-1], (*factors[a:-1], weighted(factors[-1], core, frames[-1], d - 1)))
        return grad_x, None, (h.mT @ z).view_as(core), *map(gauged, factors, K), *[None] * d


def as_matrix(core: Tensor, outs: int) -> Tensor:
    """Return the core as a matrix of outputs and inputs."""
    return core.flatten(outs).flatten(0, outs - 1)


def partners(x: Tensor, factors: Sequence[Tensor], ends: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield, for each mode k, the sum over the batch of x with ``end_k``, which is put into all bases but that of k."""
    for k, end in enumerate(ends):
        others = [j + 1 for j in range(len(factors)) if j != k]
        for j in others:
            end = torch.tensordot(end, factors[j - 1], ([j], [1])).movedim(-1, j)
        yield torch.tensordot(x, end, ([0, *others], [0, *others]))


class TuckerConvolution(torch.autograd.Function):
    """The convolution with C between matrices at each place; gradients as ``TuckerProduct``."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bias: Tensor | None,
        geometry: Sequence[Any],
        kernel: Sequence[int],
        core: Tensor,
        *others: Tensor,
    ) -> Tensor:
        """Return the convolution; ``others`` are the factors of outputs, inputs and places, then the frames."""
        U_out, U_in, U_places, F_out, *_ = others
        inner, groups = Geometry(*geometry[:3]), geometry[3]
        z = pointwise(apart(x, groups), U_in.mT)
        b = convolve(z, (F_out @ U_places.mT).unflatten(-1, kernel), inner)
        ctx.save_for_backward(x, z, b, core, *others)
        ctx.geometry, ctx.kernel = geometry, kernel
        return pointwise(together(b, groups), weighted(U_out, core, F_out, 0), groups, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of x and the blocks."""
        x, z, b, core, U_out, U_in, U_places, _, F_in, F_places = ctx.saved_tensors
        inner, groups = Geometry(*ctx.geometry[:3]), ctx.geometry[3]
        g = g.unflatten(1, (groups, -1)).flatten(3)
        h = (U_out.unflatten(0, (groups, -1)).mT @ g).flatten(0, 1).view_as(b)
        K_out = (g @ b.reshape(len(x), groups, b.shape[1], -1).mT).sum(0).flatten(0, 1)
        start, kernels = convolution_gradients(h, z, (F_in @ U_places.mT).unflatten(-1, ctx.kernel), inner)
        K_in = (apart(x, groups).flatten(2) @ start.flatten(2).mT).sum(0)
        kernels = kernels.flatten(2)
        K_places = torch.tensordot(kernels, F_places, ([0, 1], [0, 1]))
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = together(pointwise(start, weighted(U_in, core, F_in, 1)), groups)
        blocks = map(gauged, (U_out, U_in, U_places), (K_out, K_in, K_places))
        by_bias = g.sum((0, 3)).flatten() if ctx.needs_input_grad[1] else None
        return grad_x, by_bias, None, None, kernels @ U_places, *blocks, None, None, None
