"""What the geometries of symmetric positive definite matrices share: points, tangent vectors and the number format."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from typing_extensions import Self

from isometry.manifolds._precision import captured, full_precision
from isometry.manifolds.base import Manifold
from isometry.manifolds.spectral import Rectifier, Spectrum, spectrum, sym_exp, sym_function

_AT_LEAST_ONE = Rectifier(1.0)


def symmetric_part(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Return ``(x + x^T)/2``."""
    return (x + x.mT) / 2


def congruence(a: Float[Tensor, "*#b n n"], x: Float[Tensor, "*#b n n"]) -> Float[Tensor, "*b n n"]:
    """Return the symmetric ``a x a^T``."""
    return symmetric_part(a @ x @ a.mT)


def eigenvalues(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n"]:
    """Return the eigenvalues of symmetric matrices; NaN for those that are not finite, which LAPACK may refuse."""
    finite = x.sum((-2, -1), keepdim=True).isfinite()
    return torch.where(finite.squeeze(-1), torch.linalg.eigvalsh(torch.where(finite, x, 0)), math.nan)


def cholesky(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Return the lower factor L of ``x = L L^T``, NaN where ``x`` is not positive definite."""
    lower, info = torch.linalg.cholesky_ex(x)
    return torch.where(info[..., None, None] == 0, lower, math.nan)


def lower_inverse(lower: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Return the inverse of a lower triangular matrix."""
    eye = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
    return torch.linalg.solve_triangular(lower, eye, upper=False)


def symmetric_matrix(z: Float[Tensor, "*b d"], n: int) -> Float[Tensor, "*b n n"]:
    """Return the symmetric matrix with diagonal ``z_1, ..., z_n`` and the other ``z_k / sqrt 2`` off it: isometric."""
    rows, columns = torch.tril_indices(n, n, -1, device=z.device)
    index = torch.arange(n, device=z.device).diag_embed()
    index[rows, columns] = index[columns, rows] = torch.arange(n, z.shape[-1], device=z.device)
    weight = torch.full((n, n), 0.5**0.5, dtype=z.dtype, device=z.device).fill_diagonal_(1)
    return z[..., index] * weight


def symmetric_coordinates(u: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b d"]:
    """Return the diagonal and ``sqrt 2`` times the entries below it: the inverse of ``symmetric_matrix``."""
    rows, columns = torch.tril_indices(u.shape[-1], u.shape[-1], -1, device=u.device)
    return torch.cat([u.diagonal(dim1=-2, dim2=-1), 2**0.5 * symmetric_part(u)[..., rows, columns]], -1)


def differentiated(*tensors: Tensor) -> bool:
    """Return whether a derivative may be asked for: where none can be, eigenvalues are computed without vectors."""
    recorded = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    return captured() or recorded or any(unpack_dual(t).tangent is not None for t in tensors)


def asymmetry(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
    """Return ``|x - x^T| / |x|``, 0 at ``x = 0``."""
    size = torch.linalg.matrix_norm(x)
    return torch.linalg.matrix_norm(x - x.mT) / torch.where(size == 0, 1, size)


def cone_residual(x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b"]:
    """Return ``|x - x^T|/|x|``, plus ``1 + |l_min|/|l|_max`` where an eigenvalue is negative beyond rounding."""
    x = x.double()
    values = eigenvalues(symmetric_part(x))
    least, scale = values[..., 0], values.abs().amax(-1)
    indefinite = (least < -x.shape[-1] * torch.finfo(x.dtype).eps * scale) | (scale == 0)
    violation = 1 - least / torch.where(scale == 0, 1, scale)
    return asymmetry(x) + torch.where(indefinite, violation, 0)


def with_floor(x: Float[Tensor, "*b n n"], floor: float) -> Float[Tensor, "*b n n"]:
    """Return the symmetric part of ``x``, its eigenvalues raised to ``floor`` times the largest absolute one."""
    x = symmetric_part(x)
    values, vectors = spectrum(x)
    scale = values.abs().amax(-1, keepdim=True)
    unit = floor * torch.where(scale == 0, 1, scale)
    values, unit = values / unit, unit.unsqueeze(-1)
    raised = unit * sym_function(x / unit, _AT_LEAST_ONE, Spectrum(values, vectors))
    return torch.where(values[..., :1, None] >= 1, x, symmetric_part(raised))


class SPD(Manifold):
    r"""The cone of symmetric positive definite ``n x n`` matrices, whatever its metric.

    Tangent vectors are symmetric matrices. An argument that is symmetric up to rounding is read as its symmetric part.

    Args:
        n: Number of rows, at least 1; the intrinsic dimension is ``n(n+1)/2``.
        upcast: Compute in float64 whatever the input (default). ``False`` computes float32 in float32: faster, with
            errors that grow as the condition number.
    """

    def __init__(self, n: int, upcast: bool = True) -> None:
        super().__init__()
        if n < 1:
            raise ValueError(f"{type(self).__name__}: expected matrices of at least one row, but got n={n}.")
        self.n = n
        self.upcast = upcast

    @property
    def dim(self) -> int:
        """The intrinsic dimension, ``n(n+1)/2``."""
        return self.n * (self.n + 1) // 2

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are ``n x n`` matrices."""
        return (self.n, self.n)

    def with_dim(self, dim: int) -> Self:
        """Return the same geometry of the matrices that have ``dim = n(n+1)/2`` free entries."""
        n = (math.isqrt(8 * dim + 1) - 1) // 2
        if dim < 1 or n * (n + 1) // 2 != dim:
            raise ValueError(
                f"{type(self).__name__}: symmetric n x n matrices have n(n+1)/2 = 1, 3, 6, 10, ... dimensions, "
                f"but got dim={dim}. The nearest sizes are n={n} and n={n + 1}."
            )
        return type(self)(n, upcast=self.upcast)

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return float64 with ``upcast``, else float32 at least."""
        return torch.float64 if self.upcast else super().compute_dtype(dtype)

    def point_residual(self, x: Tensor) -> Tensor:
        """Return ``|x - x^T|/|x|``, plus ``1 + |l_min|/|l|_max`` where an eigenvalue is negative beyond rounding.

        A matrix that is singular up to rounding (``|l_min| <= n eps |l|_max`` in float64) cannot be told from a point.
        """
        return cone_residual(x)

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``|u - u^T|/|u|``."""
        return asymmetry(u)

    def projx(self, x: Tensor) -> Tensor:
        """Return the symmetric part of ``x``, its eigenvalues raised to ``n eps`` times the largest absolute one.

        ``eps`` is that of the format of ``x``: the least eigenvalue that stays positive when the entries are rounded.
        A positive definite matrix whose eigenvalues lie above stays bit for bit. The zero matrix becomes ``n eps I``.
        """
        return self._with_floor(x, self.n * torch.finfo(x.dtype).eps)

    @full_precision
    def _with_floor(self, x: Tensor, floor: float) -> Tensor:
        return with_floor(x, floor)

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(u + u^T)/2``."""
        return symmetric_part(u).expand(torch.broadcast_shapes(x.shape, u.shape))

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the identity matrix."""
        return torch.eye(self.n, dtype=dtype, device=device).expand(self._size(size)).clone()

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        r"""Return ``exp(S/sqrt(n))`` with S from the Gaussian orthogonal ensemble.

        ``S = (Z + Z^T)/2`` of standard normal Z; its law does not change under rotations, and the eigenvalues of
        ``S/sqrt(n)`` fill ``[-sqrt 2, sqrt 2]`` as n grows (Wigner's semicircle): condition ``e^(2 sqrt 2) = 17``.
        """
        return self._exp(torch.randn(self._size(size), generator=generator, dtype=dtype, device=device))

    @full_precision
    def _exp(self, z: Tensor) -> Tensor:
        return symmetric_part(sym_exp(symmetric_part(z) / self.n**0.5))
