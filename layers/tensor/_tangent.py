"""Gradients in tangent coordinates, by ordinary differentiation of the same map in other factors."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isometry.layers.tensor._convolve import Geometry, apart, convolution_gradients, convolve, together


def gauged(U: Tensor, block: Tensor) -> Tensor:
    """Return ``(1 - U U^T) block``."""
    return torch.addmm(block, U, U.mT @ block, alpha=-1)


def times(matrix: Tensor, x: Tensor) -> Tensor:
    """Return the products of a matrix and matrices ``[b, k, n]``, as one product of large ones if they are columns."""
    if x.shape[-1] == 1:
        return F.linear(x.squeeze(-1), matrix).unsqueeze(-1)
    return torch.bmm(matrix.expand(len(x), -1, -1), x)


def paired(a: Tensor, b: Tensor) -> Tensor:
    """Return ``sum_b a_b b_b^T`` of matrices ``[b, m, n]`` and ``[b, k, n]``."""
    if a.shape[-1] == 1:
        return a.squeeze(-1).mT @ b.squeeze(-1)
    return torch.bmm(a, b.mT).sum(0)


class Gauged(torch.autograd.Function):
    """A basis ``U [.., r]``, its columns those of ``[.., r]`` flattened; its gradient loses the part along U."""

    @staticmethod
    def forward(ctx: Any, basis: Tensor) -> Tensor:
        """Return the basis."""
        ctx.save_for_backward(basis)
        return basis.view_as(basis)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return ``(1 - U U^T) gradient``."""
        (basis,) = ctx.saved_tensors
        return gauged(basis.flatten(0, -2), gradient.flatten(0, -2)).view_as(basis)


class WithGradientsOf(torch.autograd.Function):
    """The first tensor; all of the tensors, which have the same shape, get its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *others: Tensor) -> Tensor:
        """Return the first tensor."""
        ctx.count = 1 + len(others)
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return the gradient, once for each."""
        return (gradient,) * ctx.count


class LowRankProduct(torch.autograd.Function):
    """``U S V^T x + bias`` for rows x; the gradients of U, S and V are the blocks of the projected gradient, in gauge.

    The same as by frames, with each product of large matrices taken once::

        K = (1 - U U^T) g^T (x V),    M = (g U)^T (x V),    L = (1 - V V^T) x^T (g U)
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, U: Tensor, S: Tensor, V: Tensor, bias: Tensor | None) -> Tensor:
        """Return the product."""
        a = x @ V
        ctx.save_for_backward(x, a, U, S, V)
        return F.linear(a @ S.mT, U, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of x, the blocks, and the gradient of the bias."""
        x, a, U, S, V = ctx.saved_tensors
        b = g @ U
        M = b.mT @ a
        K = torch.addmm(g.mT @ a, U, M, alpha=-1)
        L = torch.addmm(x.mT @ b, V, M.mT, alpha=-1)
        grad_x = (b @ S) @ V.mT if ctx.needs_input_grad[0] else None
        return grad_x, K, M, L, g.sum(0) if ctx.needs_input_grad[4] else None


def right_kernels(V: Tensor, columns: int) -> Tensor:
    """Return the matrices ``[n2, m2]`` in the r columns of V, one below the other."""
    return V.mT.reshape(-1, columns)


class KroneckerProduct(torch.autograd.Function):
    """``Y = sum_i A_i X S_i^T`` for X ``[q, m1, m2, p]``, the q p vectors of a batch; gradients as ``LowRankProduct``.

    The columns of U are the entries of ``[n1, m1]`` matrices, those of V of ``[n2, m2]`` matrices. As for a matrix of
    low rank, K pairs g with the input in the basis V, and L pairs the input with g in the basis U.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, U: Tensor, S: Tensor, V: Tensor, n1: int) -> Tensor:
        """Return ``Y [q, n1, n2, p]``."""
        q, m1, m2, p = x.shape
        columns = x.reshape(q * m1, m2, p)
        z = times(right_kernels(V, m2), columns).view(q, m1 * V.shape[1], -1)
        ctx.save_for_backward(columns, z, U, S, V)
        return times((U @ S).view(n1, -1), z).view(q, n1, -1, p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of x and the blocks."""
        columns, z, U, S, V = ctx.saved_tensors
        (q, n1, n2, p), (rows, m2, _) = g.shape, columns.shape
        g = g.reshape(q, n1, n2 * p)
        h = times(U.view(n1, -1).mT, g).view(rows, -1, p)
        K = paired(g, z).view_as(U)
        L = paired(columns, h).view(m2, -1, n2).permute(2, 0, 1).reshape(V.shape)
        M = U.mT @ K
        grad_x = times(right_kernels(V @ S.mT, m2).mT, h).view(q, -1, m2, p) if ctx.needs_input_grad[0] else None
        return grad_x, torch.addmm(K, U, M, alpha=-1), M, torch.addmm(L, V, M.mT, alpha=-1), None


class KroneckerConvolution(torch.autograd.Function):
    """The convolutions with all S_i, then the A_i at each place; gradients as ``KroneckerProduct``.

    A matrix of low rank is the case of A_i with one column and S_i with one row.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bias: Tensor | None,
        geometry: Sequence[Any],
        n1: int,
        shape: Sequence[int],
        U: Tensor,
        S: Tensor,
        V: Tensor,
    ) -> Tensor:
        """Return the convolution; ``shape`` is ``[m2, *kernel]``."""
        inner, groups = Geometry(*geometry[:3]), geometry[3]
        columns = apart(x, x.shape[1] // shape[0])
        z = convolve(columns, V.mT.reshape(-1, *shape), inner)
        blocks = z.reshape(len(x), groups, U.numel() // n1, -1)
        y = ((U @ S).view(groups, n1 // groups, -1) @ blocks).view(len(x), -1, *z.shape[2:])
        ctx.save_for_backward(columns, z, U, S, V)
        ctx.geometry, ctx.n1, ctx.shape = geometry, n1, shape
        return y if bias is None else y.add_(bias.view(-1, *[1] * len(z.shape[2:])))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the bias, and the blocks."""
        columns, z, U, S, V = ctx.saved_tensors
        n1, count = ctx.n1, len(g)
        inner, groups = Geometry(*ctx.geometry[:3]), ctx.geometry[3]
        by_bias = g.sum((0, *range(2, g.ndim))) if ctx.needs_input_grad[1] else None
        g = g.reshape(count, groups, n1 // groups, -1)
        h = U.view(groups, n1 // groups, -1).mT @ g
        K = (g @ z.reshape(h.shape).mT).sum(0).view_as(U)
        by_columns, L = convolution_gradients(h.view_as(z), columns, (V @ S.mT).mT.reshape(-1, *ctx.shape), inner)
        M, L = U.mT @ K, L.reshape(V.shape[1], -1).mT
        blocks = torch.addmm(K, U, M, alpha=-1), M, torch.addmm(L, V, M.mT, alpha=-1)
        return together(by_columns, len(columns) // count), by_bias, None, None, None, *blocks
