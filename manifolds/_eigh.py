"""Batched eigendecompositions of symmetric matrices: over threads, elementwise for 2 x 2 and 3 x 3, and refined."""

import math
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from isometry.manifolds._matrix_exp import matrix_exp
from isometry.manifolds._precision import captured, two_product

_ELEMENTWISE = {2: 512, 3: 2048}  # matrices in a batch from which elementwise formulas are the faster way
_SLICES = 4
_ROTATIONS = 6
_NEGLIGIBLE = 2.0**-54  # Jacobi's stopping rule for high relative accuracy (Demmel & Veselic 1992)


def eigh(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ascending eigenvalues ``[*b, n]`` and eigenvectors ``[*b, n, n]`` of symmetric ``x [*b, n, n]``.

    ``torch.linalg.eigh`` works through a batch one matrix after another; on a CPU the batch is cut into one part for
    each of torch's threads.
    """
    n, count = x.shape[-1], x.shape[:-2].numel()
    if n == 2 and count >= _ELEMENTWISE[2]:
        return _eigh_2x2(x)
    if n == 3 and count >= _ELEMENTWISE[3]:
        return _eigh_3x3(x)
    threads = 1 if captured() or x.device.type != "cpu" else torch.get_num_threads()
    if threads == 1 or count < 2 * threads:
        values, vectors = torch.linalg.eigh(x)
        return values, vectors
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(torch.linalg.eigh, x.flatten(0, -3).chunk(threads)))
    values, vectors = (torch.cat(part) for part in zip(*parts, strict=True))
    return values.reshape(x.shape[:-1]), vectors.reshape(x.shape)


def _eigh_2x2(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the decomposition by one rotation; the smaller eigenvalue is ``det x / larger``, free of cancellation."""
    a, b, d = x[..., 0, 0], x[..., 0, 1], x[..., 1, 1]
    half = (a - d) / 2
    mean, radius = (a + d) / 2, torch.hypot(half, b)
    far = mean + torch.where(mean < 0, -radius, radius)  # the eigenvalue of larger modulus
    (p, p_error), (q, q_error) = two_product(a, d), two_product(b, b)
    near = ((p - q) + (p_error - q_error)) / torch.where(far == 0, 1, far)
    # the eigenvector of the upper eigenvalue is at half the angle of (half, b)
    angle = torch.atan2(b, half) / 2
    cos, sin = angle.cos(), angle.sin()
    values = torch.stack([torch.minimum(near, far), torch.maximum(near, far)], -1)
    return values, torch.stack([torch.stack([-sin, cos], -1), torch.stack([cos, sin], -1)], -2)


def _eigh_3x3(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the decomposition by five sweeps of Jacobi's rotations, which converge quadratically.

    Source: Golub & Van Loan 2013, Matrix Computations, section 8.5.
    """
    diagonal = list(x.diagonal(dim1=-2, dim2=-1).unbind(-1))
    off = {(p, q): x[..., p, q] for p, q in ((0, 1), (0, 2), (1, 2))}
    eye = torch.eye(3, dtype=x.dtype, device=x.device)
    columns = [eye[:, j].reshape(3, *(1,) * (x.ndim - 2)) for j in range(3)]
    for _ in range(5):
        for p, q, r in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
            b, gap = off[p, q], diagonal[q] - diagonal[p]
            size = gap.abs() + torch.hypot(gap, 2 * b)
            tangent = torch.where(gap < 0, -2, 2) * b / torch.where(size == 0, 1, size)
            cos = (1 + tangent * tangent).rsqrt()
            sin = tangent * cos
            diagonal[p], diagonal[q] = diagonal[p] - tangent * b, diagonal[q] + tangent * b
            pr, qr = (min(p, r), max(p, r)), (min(q, r), max(q, r))
            off[p, q] = torch.zeros_like(b)
            off[pr], off[qr] = cos * off[pr] - sin * off[qr], sin * off[pr] + cos * off[qr]
            columns[p], columns[q] = cos * columns[p] - sin * columns[q], sin * columns[p] + cos * columns[q]
    values, order = torch.stack(diagonal, -1).sort(-1)
    vectors = torch.stack(columns, -1).movedim(0, -2)
    return values, vectors.gather(-1, order.unsqueeze(-2).expand_as(vectors))


def refined(x: Tensor, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the decomposition corrected by its residual ``D = x U - U \Lambda``, computed in twice the precision.

    In the basis U the matrix is ``\Lambda + C`` with ``C = sym(U^T D)``, entry by entry to full relative accuracy
    of the small block, too; a few sweeps of simultaneous Jacobi rotations, which this nearly diagonal matrix converges
    under quadratically, diagonalise it.
    """
    if x.dtype != torch.float64:
        raise ValueError(f"refine: expected float64 matrices, got {x.dtype}; convert with .double() first.")
    small = values.diag_embed() + _symmetric(vectors.mT @ _residual(x, values, vectors))
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    # first-order orthogonality: U (3 I - U^T U) / 2
    vectors = vectors @ (1.5 * eye - 0.5 * vectors.mT @ vectors)
    for _ in range(_ROTATIONS):
        diagonal = small.diagonal(dim1=-2, dim2=-1)
        coupling = small - diagonal.diag_embed()
        scale = (diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)).abs().sqrt()
        coupling = torch.where(coupling.abs() > _NEGLIGIBLE * scale, coupling, 0)
        if not captured() and not bool(coupling.any()):
            break
        gap = diagonal.unsqueeze(-2) - diagonal.unsqueeze(-1)
        angle = torch.where(coupling == 0, 0, torch.atan(2 * coupling / gap) / 2)  # atan(+-inf) = pi/2 at equal values
        generator = torch.where(gap == 0, angle.abs().triu(1) - angle.abs().triu(1).mT, angle)
        rotation = matrix_exp(generator)
        small = _symmetric(rotation.mT @ small @ rotation)
        vectors = vectors @ rotation
    values, order = small.diagonal(dim1=-2, dim2=-1).sort(-1)
    return values, vectors.gather(-1, order.unsqueeze(-2).expand_as(vectors))


def _symmetric(x: Tensor) -> Tensor:
    return (x + x.mT) / 2


def _slices(x: Tensor, bits: int, dim: int) -> list[Tensor]:
    """Return ``x`` cut into parts of ``bits`` bits below the largest power of two along ``dim``, and a rest."""
    top = torch.exp2(torch.ceil(torch.log2(x.abs().amax(dim, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny))))
    parts = []
    for k in range(1, _SLICES):
        magic = 1.5 * 2.0 ** (52 - bits * k) * top
        part = (x + magic) - magic
        parts.append(part)
        x = x - part
    return [*parts, x]


def _residual(x: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
    """Return ``x U - U diag(values)`` to an absolute accuracy of about ``eps^2 |x|``.

    Both factors are cut into slices so short that the products of slices are exact sums (Ozaki et al. 2012).
    """
    n = x.shape[-1]
    bits = (53 - math.ceil(math.log2(n)) - 1) // 2
    left, right = _slices(x, bits, -1), _slices(vectors, bits, -2)
    total, error = two_product(vectors, -values.unsqueeze(-2).expand_as(vectors))
    for order in range(_SLICES):
        for i in range(order + 1):
            term = left[i] @ right[order - i]
            total, rest = _two_sum(total, term)
            error = error + rest
    return total + error


def _two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``s = fl(a + b)`` and its rounding error (Knuth 1969)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)
