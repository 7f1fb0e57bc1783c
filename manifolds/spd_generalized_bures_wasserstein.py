"""Symmetric positive definite matrices with the generalized Bures-Wasserstein metric."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Self

from isometry.manifolds._precision import full_precision
from isometry.manifolds._spd import congruence, lower_inverse, symmetric_part
from isometry.manifolds._spd_flat import Chart
from isometry.manifolds._spd_pullback import PullBack, RefinedSPD
from isometry.manifolds.spd_bures_wasserstein import SPDBuresWasserstein


class CongruenceChart(Chart):
    """The linear map ``c^-1 x c^-T``.

    Args:
        x: Positive definite ``[*b, n, n]``.
        factor: Lower triangular ``c``.
    """

    def __init__(self, x: Float[Tensor, "*b n n"], factor: Float[Tensor, "n n"]) -> None:
        self.x, self.factor, self.inverse = x, factor, lower_inverse(factor)

    def coordinates(self) -> Tensor:
        """Return ``c^-1 x c^-T``."""
        return self.push(self.x)

    def push(self, u: Tensor) -> Tensor:
        """Return ``c^-1 u c^-T``."""
        return congruence(self.inverse, u)

    def pull(self, w: Tensor) -> Tensor:
        """Return ``c w c^T``."""
        return congruence(self.factor, w)

    def pull_adjoint(self, g: Tensor) -> Tensor:
        """Return ``c^T g c``."""
        return congruence(self.factor.mT, g)

    def to(self, other: "CongruenceChart") -> Tensor:
        """Return ``c^-1 (other - x) c^-T``."""
        return self.push(other.x - self.x)


def log_cholesky(lower: Float[Tensor, "n n"]) -> Float[Tensor, "d"]:
    """Return the lower triangle of a Cholesky factor row by row, the diagonal as its logarithm."""
    logs = lower.tril(-1) + lower.diagonal().log().diag()
    return logs[tuple(torch.tril_indices(*lower.shape))]


def lower_factor(z: Float[Tensor, "d"], n: int) -> Float[Tensor, "n n"]:
    """Return the factor with these coordinates: the inverse of ``log_cholesky``."""
    rows, columns = torch.tril_indices(n, n, device=z.device)
    index = torch.zeros(n, n, dtype=torch.int64, device=z.device)
    index[rows, columns] = torch.arange(len(rows), device=z.device)
    full = z[index]
    return full.tril(-1) + full.diagonal().exp().diag()


class SPDGeneralizedBuresWasserstein(PullBack, RefinedSPD):
    r"""Positive definite matrices with ``<u, v>_x = tr(L v) / 2`` where ``M L x + x L M = u``.

    With ``M = c c^T`` the congruence ``x -> c^-1 x c^-T`` is an isometry onto ``SPDBuresWasserstein``, whose ranges and
    limits hold: ``expmap`` is NaN where geodesics have ended. ``M = I`` is that geometry; at ``x = M`` the metric is a
    quarter of the affine-invariant one. The base point ``origin`` is M, which the isometry maps to the identity.

    Args:
        n: Number of rows.
        M: Positive definite ``n x n`` matrix; the identity if omitted.
        learnable: Make M a parameter, ``log_cholesky`` of shape ``(n(n+1)/2,)``: the lower triangle of its Cholesky
            factor row by row, with the logarithm of the diagonal. Points stay where they are when M is trained.
        upcast: Compute in float64 whatever the input (default).

    Source: Han, Mishra, Jawanpuria & Gao 2023, Learning with symmetric positive definite matrices via generalized
    Bures-Wasserstein geometry.
    """

    def __init__(self, n: int, M: Any = None, learnable: bool = False, upcast: bool = True) -> None:
        super().__init__(SPDBuresWasserstein(n, upcast=upcast))
        self._matrix = self._valid(M)
        self._lower = torch.linalg.cholesky(self._matrix)
        self.learnable = learnable
        self.log_cholesky = nn.Parameter(log_cholesky(self._lower).float()) if learnable else None

    def _valid(self, M: Any) -> Tensor:
        m = torch.eye(self.n) if M is None else torch.as_tensor(M).detach()
        m = m.double().cpu()
        if self.n == 1:
            m = m.reshape(-1, 1)  # a spec says a number
        expected = f"SPDGeneralizedBuresWasserstein: expected a positive definite {self.n} x {self.n} matrix M, but got"
        if m.shape != (self.n, self.n):
            raise ValueError(f"{expected} shape {tuple(m.shape)}.")
        residual = float(self.point_residual(m))
        if not residual <= 1e-5 or torch.linalg.cholesky_ex(m).info:
            raise ValueError(f"{expected} one with point residual {residual:.1e}; project it with `projx`.")
        return symmetric_part(m)

    @property
    def factor(self) -> Tensor:
        """The lower triangular ``c`` with ``M = c c^T``."""
        z = self.log_cholesky
        return self._lower if z is None else lower_factor(z.to(self.compute_dtype(z.dtype)), self.n)

    @property
    def M(self) -> Tensor:  # noqa: N802
        """The matrix M."""
        return self._matrix if self.log_cholesky is None else symmetric_part(self.factor @ self.factor.mT)

    def with_dim(self, dim: int) -> Self:
        """Return this geometry: M has one size. Others are refused."""
        if dim != self.dim:
            raise ValueError(
                f"{self!r}: M belongs to dimension {self.dim}, but got dim={dim}. Construct it with another M."
            )
        return self

    def _chart(self, x: Tensor) -> CongruenceChart:
        return CongruenceChart(x, self.factor.to(x))

    def from_image(self, coordinates: Tensor) -> Tensor:
        """Return ``C coordinates C^T``."""
        return congruence(self.factor.to(coordinates), coordinates)

    @full_precision
    def dist2_given(self, x: Tensor, y: Tensor, gap: Tensor) -> Tensor:
        """Return the squared distance of the images, which differ by ``c^-1 gap c^-T``."""
        at = self.chart_at(x)
        return self.manifold.dist2_given(at.coordinates(), self.chart_at(y).coordinates(), at.push(gap))

    @full_precision
    def logmap_given(self, x: Tensor, y: Tensor, gap: Tensor) -> Tensor:
        """Return the logarithm of the images, which differ by ``c^-1 gap c^-T``, carried back."""
        at = self.chart_at(x)
        return at.pull(self.manifold.logmap_given(at.coordinates(), self.chart_at(y).coordinates(), at.push(gap)))
