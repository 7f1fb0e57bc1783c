"""Products and convolutions with a tensor train, whose backward gives the blocks of a tangent vector, in gauge.

The block of mode k pairs what the left-orthonormal cores before it make of the input with what the right-orthonormal
cores after it make of the gradient. The train is ``L_1 B R_2 ... R_d``: the gradient of the input goes through the
latter, too, with ``L_1 B`` as the first core, and takes no pass of its own.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from isometry.layers.tensor._convolve import Geometry, apart, convolution_gradients, convolve, pointwise, together
from isometry.layers.tensor._tangent import gauged, paired, times
from isometry.manifolds.low_rank import FixedRankTT, TTPoint
from isometry.manifolds.low_rank._linalg import leading, pad


@torch.library.custom_op("isometry::train_frames", mutates_args=())
def train_frames(cores: list[Tensor], ranks: Tensor) -> list[Tensor]:
    """Return the right-orthonormal cores of all modes but the first, in the shapes of the cores."""
    manifold = FixedRankTT([core.shape[1] for core in cores])
    shapes = manifold.leaf_shapes(ranks.tolist())
    rights = manifold.right_cores(TTPoint(tuple(leading(c, s) for c, s in zip(cores, shapes, strict=True))))
    return [pad(R, core.shape) for R, core in zip(rights, cores[1:], strict=True)]


@train_frames.register_fake
def _(cores: list[Tensor], ranks: Tensor) -> list[Tensor]:
    return [torch.empty_like(core) for core in cores[1:]]


def first_core(cores: Sequence[Tensor], rights: Sequence[Tensor]) -> Tensor:
    """Return ``L_1 B``, the core before ``R_2 ... R_d`` in the train of the cores."""
    B = cores[0].new_ones(1, 1)
    for core, R in zip(cores[:0:-1], rights[::-1], strict=True):
        B = (core @ B).flatten(1) @ R.flatten(1).mT
    return cores[0] @ B


def block(core: Tensor, gradient: Tensor, gauge: bool) -> Tensor:
    """Return the block of a core, orthogonal to its columns if it is in gauge."""
    return gauged(core.flatten(0, 1), gradient.flatten(0, 1)).view_as(core) if gauge else gradient


def as_matrix(core: Tensor, o: int) -> Tensor:
    """Return the core ``[r, o i, s]`` as a matrix ``[o s, r i]``."""
    return core.unflatten(1, (o, -1)).permute(1, 3, 0, 2).flatten(2).flatten(0, 1)


def as_kernel(core: Tensor, way: int, ways: int) -> Tensor:
    """Return the core ``[r, n, s]`` as a kernel along one way."""
    size = [1] * ways
    size[way] = core.shape[1]
    return core.permute(2, 0, 1).unflatten(-1, size)


class TrainProduct(torch.autograd.Function):
    """The product with a train whose modes are pairs of an output and an input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, out: Sequence[int], inp: Sequence[int], *others: Tensor) -> Tensor:
        """Return the product; ``others`` are the cores, and then the right-orthonormal ones of modes 2, ..., d."""
        states, z, d = [], x, len(out)
        for k, core in enumerate(others[:d]):
            matrix = as_matrix(core, out[k])
            states.append(z.reshape(-1, matrix.shape[1], math.prod(inp[k + 1 :])))
            z = times(matrix, states[-1]).reshape(len(states[-1]) * out[k], -1)
        ctx.save_for_backward(*states, *others)
        ctx.out = out
        return z.reshape(len(x), -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of x and the blocks."""
        d, saved = len(ctx.out), ctx.saved_tensors
        states, cores, rights = saved[:d], saved[d : 2 * d], saved[2 * d :]
        count, blocks = len(g), []
        after = (first_core(cores, rights), *rights)
        for k in reversed(range(d)):
            r, _, s = cores[k].shape
            g = g.reshape(len(states[k]), -1, states[k].shape[-1])
            by_core = paired(g, states[k]).view(ctx.out[k], s, r, -1).permute(2, 0, 3, 1)
            blocks.append(block(cores[k], by_core.reshape(cores[k].shape), k < d - 1))
            if k or ctx.needs_input_grad[0]:
                g = times(as_matrix(after[k], ctx.out[k]).mT, g)
        by_x = g.reshape(count, -1) if ctx.needs_input_grad[0] else None
        return by_x, None, None, *blocks[::-1], *[None] * (d - 1)


class TrainConvolution(torch.autograd.Function):
    """The convolution with a train whose modes are inputs, the ways of the kernel, outputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor | None, geometry: Sequence[Any], *others: Tensor) -> Tensor:
        """Return the convolution; ``others`` as of ``TrainProduct``."""
        ways = x.ndim - 2
        (first, *middle, last), geometry = others[: ways + 2], Geometry(*geometry)
        states = [pointwise(apart(x, geometry.groups), first.squeeze(0).mT)]
        for way, core in enumerate(middle):
            states.append(convolve(states[-1], as_kernel(core, way, ways), geometry.along(way)))
        ctx.save_for_backward(x, *states, *others)
        ctx.geometry = tuple(geometry)
        return pointwise(together(states[-1], geometry.groups), last.squeeze(-1).mT, geometry.groups, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the bias, and the blocks."""
        geometry, d = Geometry(*ctx.geometry), g.ndim
        x, *saved = ctx.saved_tensors
        states, cores, rights = saved[: d - 1], saved[d - 1 : 2 * d - 1], saved[2 * d - 1 :]
        groups, end = geometry.groups, states[-1]
        g = g.unflatten(1, (groups, -1)).flatten(3)
        by_bias = g.sum((0, 3)).flatten() if ctx.needs_input_grad[1] else None
        by_last = (g @ end.reshape(len(x), groups, end.shape[1], -1).mT).sum(0).flatten(0, 1)
        blocks = [by_last.mT.unsqueeze(-1)]
        h = (rights[-1].squeeze(-1).unflatten(1, (groups, -1)).movedim(0, 1) @ g).flatten(0, 1).view_as(end)
        for way in reversed(range(d - 2)):
            kernel = as_kernel(rights[way], way, d - 2)
            h, by_kernel = convolution_gradients(h, states[way], kernel, geometry.along(way))
            blocks.append(block(cores[way + 1], by_kernel.flatten(2).permute(1, 2, 0), True))
        by_first = (apart(x, groups).flatten(2) @ h.flatten(2).mT).sum(0)
        blocks.append(block(cores[0], by_first.unsqueeze(0), True))
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = together(pointwise(h, first_core(cores, rights).squeeze(0)), groups)
        return by_x, by_bias, None, *blocks[::-1], *[None] * (d - 1)
