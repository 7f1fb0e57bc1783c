"""Fourier coefficients of low frequency: the transform and its adjoint, by matrix products or by FFT.

Both are real-linear, and each is the derivative of the other, so that a backward pass costs what the forward pass does.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

_LARGEST_PRODUCT = 4  # a matrix product is faster up to about 4 log2(n) frequencies of n points (measured)


def kept_modes(modes: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return how many of ``modes`` frequencies a grid of these sizes has in each dimension.

    The last dimension counts frequencies from 0, as the others of a real function are their conjugates.
    """
    before = (min(m, n) for m, n in zip(modes[:-1], sizes[:-1], strict=True))
    return (*before, min(modes[-1], sizes[-1] // 2 + 1))


def analyse(x: Float[Tensor, "..."], modes: Sequence[int]) -> Complex[Tensor, "..."]:
    r"""Return the coefficients of low frequency of real functions on a periodic grid, frequencies first.

    ``z_k = sqrt(w_k / N) sum_j x_j exp(-2 pi i <k, j / n>)``, N the number of points, ``w_k = 2`` except 1 where
    the last frequency is 0 or half the (even) size: the coefficients of an orthonormal basis, but for those planes,
    where functions with all modes have each coefficient and its conjugate.

    Args:
        x: Values ``[*b, n_1, ..., n_d]``.
        modes: Numbers of frequencies, at most ``kept_modes``: ``-(m // 2), ..., (m - 1) // 2`` for each dimension but
            the last, and ``0, ..., m - 1`` for that.

    Returns:
        Coefficients ``[m_1, ..., m_d, *b]``, in ascending order of frequencies.
    """
    return _Analysis.apply(x, tuple(modes))


def synthesise(z: Complex[Tensor, "..."], sizes: Sequence[int]) -> Float[Tensor, "..."]:
    r"""Return ``x_j = Re sum_k sqrt(w_k / N) z_k exp(2 pi i <k, j / n>)``, the adjoint of ``analyse``.

    Args:
        z: Coefficients ``[m_1, ..., m_d, *b]``.
        sizes: Of the grid.

    Returns:
        Values ``[*b, n_1, ..., n_d]``.
    """
    return _Synthesis.apply(z, tuple(sizes))


class _Analysis(torch.autograd.Function):
    """``analyse``; its derivative is ``synthesise``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, modes: tuple[int, ...]) -> Tensor:
        sizes = x.shape[-len(modes) :]
        return _analyse_by_products(x, modes) if _few(modes, sizes) else _analyse_by_fft(x, modes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[int, ...]], output: Tensor) -> None:
        x, modes = inputs
        ctx.sizes = x.shape[-len(modes) :]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Synthesis.apply(grad, ctx.sizes), None


class _Synthesis(torch.autograd.Function):
    """``synthesise``; its derivative is ``analyse``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, sizes: tuple[int, ...]) -> Tensor:
        modes = z.shape[: len(sizes)]
        return _synthesise_by_products(z, sizes) if _few(modes, sizes) else _synthesise_by_fft(z, sizes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, tuple[int, ...]], output: Tensor) -> None:
        z, sizes = inputs
        ctx.modes = z.shape[: len(sizes)]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Analysis.apply(grad, ctx.modes), None


def _few(modes: Sequence[int], sizes: Sequence[int]) -> bool:
    """Return whether matrix products are the faster way."""
    return all(m <= _LARGEST_PRODUCT * math.log2(n) for m, n in zip(modes, sizes, strict=True) if n > 1)


def _root_weights(m: int, n: int, like: Tensor) -> Float[Tensor, " m"]:
    """Return ``sqrt(w_k)`` of the last frequencies 0 to m - 1."""
    w = like.new_full((m,), math.sqrt(2), dtype=like.real.dtype)
    w[0] = 1
    if 2 * (m - 1) == n:
        w[-1] = 1
    return w


def _waves(m: int, n: int, last: bool, like: Tensor) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m n"]]:
    """Return ``cos`` and ``sin`` of ``2 pi k j / n``, scaled by ``sqrt(w_k / n)``."""
    k = torch.arange(m, device=like.device) - (0 if last else m // 2)
    turns = torch.outer(k, torch.arange(n, device=like.device)).remainder(n)  # exact, and so small angles
    angles = turns.to(like.real.dtype) * (2 * math.pi / n)
    scale = _root_weights(m, n, like)[:, None] / math.sqrt(n) if last else 1 / math.sqrt(n)
    return scale * angles.cos(), scale * angles.sin()


def _analyse_by_products(x: Tensor, modes: Sequence[int]) -> Tensor:
    """Transform the last dimension left and put it first, until all are done: no product needs a copy in order."""
    d = len(modes)
    n, m = x.shape[-1], modes[-1]
    cos, sin = _waves(m, n, True, x)
    t = (torch.cat([cos, -sin]) @ x.reshape(-1, n).mT).view(2, m, *x.shape[:-1])  # real and imaginary parts
    for axis in reversed(range(d - 1)):
        n, m = t.shape[-1], modes[axis]
        products = (torch.cat(_waves(m, n, False, x)) @ t.reshape(-1, n).mT).view(2, m, 2, *t.shape[1:-1])
        (cos_re, cos_im), (sin_re, sin_im) = (part.unbind(1) for part in products)
        t = torch.stack([cos_re + sin_im, cos_im - sin_re])
    return torch.complex(t[0], t[1])


def _synthesise_by_products(z: Tensor, sizes: Sequence[int]) -> Tensor:
    """The transposed products: transform the first dimension and put it last."""
    t = torch.stack([z.real, z.imag])
    for n in sizes[:-1]:
        m, rest = t.shape[1], t.shape[2:]
        cos, sin = _waves(m, n, False, z)
        parts = torch.stack([torch.cat([cos, -sin]), torch.cat([sin, cos])])
        t = (t.view(2 * m, -1).mT @ parts).view(2, *rest, n)
    m, rest = t.shape[1], t.shape[2:]
    cos, sin = _waves(m, sizes[-1], True, z)
    return (t.view(2 * m, -1).mT @ torch.cat([cos, -sin])).view(*rest, sizes[-1])


def _analyse_by_fft(x: Tensor, modes: Sequence[int]) -> Tensor:
    """Cut each dimension right after its transform, which makes the next ones smaller."""
    d, b = len(modes), x.ndim - len(modes)
    z = torch.fft.rfft(x, norm="ortho")[..., : modes[-1]]
    for axis in range(-d, -1):
        z = torch.fft.fft(z, dim=axis, norm="ortho")
        m, n = modes[axis], z.shape[axis]
        z = torch.cat([z.narrow(axis, n - m // 2, m // 2), z.narrow(axis, 0, m - m // 2)], axis)
    z = z.permute(*range(b, b + d), *range(b)).contiguous()
    return z * _root_weights(modes[-1], x.shape[-1], x).view(-1, *[1] * b)


def _synthesise_by_fft(z: Tensor, sizes: Sequence[int]) -> Tensor:
    d, b = len(sizes), z.ndim - len(sizes)
    z = z / _root_weights(z.shape[d - 1], sizes[-1], z).view(-1, *[1] * b)  # irfft itself counts conjugates
    z = z.permute(*range(d, d + b), *range(d)).contiguous()
    for axis in range(-d, -1):
        m, gap = z.shape[axis], list(z.shape)
        gap[axis] = sizes[axis] - m
        z = torch.cat([z.narrow(axis, m // 2, m - m // 2), z.new_zeros(gap), z.narrow(axis, 0, m // 2)], axis)
        z = torch.fft.ifft(z, dim=axis, norm="ortho")
    return torch.fft.irfft(z, n=sizes[-1], norm="ortho")
