"""The special unitary group SU(n)."""

import math

import torch
from torch import Tensor
from typing_extensions import Self

from isometry.manifolds._matrix_group import MatrixGroup
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import with_value
from isometry.manifolds._unitary import above, displacement, nearest, skew_from
from isometry.manifolds.real_view import RealView


class SpecialUnitary(MatrixGroup):
    r"""The complex matrices ``x [n, n]`` with ``x^H x = 1``, ``det x = 1`` and the metric ``<u, v> = Re tr(u^H v)``.

    A tangent vector at ``x`` is the matrix ``u = x a`` with ``a`` skew-Hermitian of trace 0; the Euclidean gradient is
    torch's (the derivatives in the real and in the imaginary part). SU(2) is the sphere of dimension 3 and radius
    ``sqrt(2)``. The cut locus is where two eigenvalue angles of the log differ by ``2 pi``.

    Points and vectors are complex; where real ones are expected, ``RealView(SpecialUnitary(n))`` has the same points
    as real tensors ``[n, n, 2]``.

    Accuracy: as ``SpecialOrthogonal``; near the cut locus the error grows as 1 over the distance to it.

    Args:
        n: Number of rows, at least 2; the intrinsic dimension is ``n^2 - 1``.

    Source: Hall 2015, Lie Groups, Lie Algebras, and Representations, chapter 11 (maximal tori).
    """

    @property
    def dim(self) -> int:
        """The intrinsic dimension, ``n^2 - 1``."""
        return self.n**2 - 1

    def with_dim(self, dim: int) -> Self:
        """Return the special unitary group of ``dim = n^2 - 1`` dimensions."""
        n = math.isqrt(dim + 1)
        if n * n - 1 != dim:
            raise ValueError(
                f"SpecialUnitary: SU(n) has n^2 - 1 = 3, 8, 15, ... dimensions, but got dim={dim}. "
                f"The nearest sizes are n={n} and n={n + 1}."
            )
        return type(self)(n)

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return the nearest unitary matrix, divided by the nearest n-th root of its determinant."""
        y = nearest(x)
        determinant = torch.linalg.det(y.detach())
        # arg det y = Im tr log y: the series of log about y is exact to the second order.
        near = displacement(y.detach(), y)
        trace = (near - near @ near / 2).diagonal(dim1=-2, dim2=-1).imag.sum(-1)
        phase = with_value(torch.atan2(determinant.imag, determinant.real), trace) / self.n
        return y * torch.polar(torch.ones_like(phase), -phase)[..., None, None]

    def frechet_mean(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the minimizer of ``sum_i w_i d(mu, x_i)^2`` over the last batch dimension."""
        mean = RealView(self).frechet_mean(torch.view_as_real(x), weights)
        return torch.complex(mean[..., 0], mean[..., 1])

    def _dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        """Return a complex format, of the precision of a real one."""
        return (torch.get_default_dtype() if dtype is None else dtype).to_complex()

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return the skew-Hermitian matrix with coordinates ``z`` in the basis of Gell-Mann's matrices times i.

        First the real, then the imaginary parts above the diagonal, times ``sqrt(2)``; then the diagonal, in the
        columns of Helmert's matrix.
        """
        pairs = self.n * (self.n - 1) // 2
        real, imaginary, diagonal = z.split([pairs, pairs, self.n - 1], -1)
        a = skew_from(torch.complex(real, imaginary) / math.sqrt(2), self.n)
        return a + 1j * torch.diag_embed(diagonal @ self._helmert(z).mT)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the coordinates of a skew-Hermitian matrix."""
        entries = above(u) * math.sqrt(2)
        diagonal = u.diagonal(dim1=-2, dim2=-1).imag @ self._helmert(u.real)
        return torch.cat([entries.real, entries.imag, diagonal], -1)

    def _helmert(self, like: Tensor) -> Tensor:
        """Return an orthonormal basis of the vectors of sum 0: in column k, k equal entries, and minus their sum."""
        k = torch.arange(1, self.n, dtype=like.dtype, device=like.device)
        row = torch.arange(self.n, dtype=like.dtype, device=like.device).unsqueeze(-1)
        return ((row < k).to(like.dtype) - k * (row == k).to(like.dtype)) / (k * (k + 1)).sqrt()
