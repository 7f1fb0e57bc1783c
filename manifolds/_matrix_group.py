"""What the rotation groups share: matrices under multiplication, with the metric of their entries."""

import math
from typing import Any

import torch
from torch import Tensor

from isometry.manifolds._matrix_exp import matrix_exp
from isometry.manifolds._polar import tightened
from isometry.manifolds._precision import full_precision
from isometry.manifolds._unitary import displacement, eye_like, log, skew
from isometry.manifolds.base import EmbeddedManifold, HomogeneousManifold


class MatrixGroup(EmbeddedManifold, HomogeneousManifold):
    r"""Orthogonal or unitary matrices of determinant 1, with the bi-invariant metric ``<u, v> = Re tr(u^H v)``.

    A tangent vector at ``x`` is a matrix ``u = x a`` with ``a`` skew and of trace 0. Geodesics are ``x exp(t a)``; a
    rotation of one plane by the angle t is at the distance ``sqrt(2) t`` from the identity.

    Args:
        n: Number of rows, at least 2.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        if n < 2:
            raise ValueError(f"{type(self).__name__}: expected matrices of at least two rows, but got n={n}.")
        self.n = n

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are ``n x n`` matrices."""
        return (self.n, self.n)

    def injectivity_radius(self) -> float:
        """Return ``sqrt(2) pi``, where a plane has turned by pi."""
        return math.sqrt(2) * math.pi

    def point_residual(self, x: Tensor) -> Tensor:
        """Return ``|x^H x - 1| + |det x - 1|``."""
        return torch.linalg.matrix_norm(x.mH @ x - eye_like(x)) + (torch.linalg.det(x) - 1).abs()

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the length of the part of ``x^H u`` that is not skew, or has a trace, over ``|u|``."""
        length = torch.linalg.matrix_norm(u)
        a = x.mH @ u
        return torch.linalg.matrix_norm(a - skew(a)) / torch.where(length == 0, 1, length)

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x skew(x^H u)``."""
        return x @ skew(x.mH @ u)

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``Re tr(u^H v)``, a real number."""
        v = u if v is None else v
        product = u.real * v.real + u.imag * v.imag if u.is_complex() else u * v
        value = product.sum((-2, -1), keepdim=True)
        value = value.expand(torch.broadcast_shapes(value.shape, (*x.shape[:-2], 1, 1)))
        return value if keepdim else value.squeeze((-2, -1))

    def _exp(self, a: Tensor) -> Tensor:
        return matrix_exp(a)

    def _log(self, e: Tensor) -> Tensor:
        return log(e)

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x exp(x^H u)``, made orthonormal against drift."""
        return tightened(x @ self._exp(skew(x.mH @ u)))

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``x log(x^H y)``."""
        return x @ self._log(displacement(x, y))

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport ``x h b h`` of ``v = x b``, with ``h = (x^H y)^(1/2)``."""
        return self._carried(x, self._log(displacement(x, y)), v)

    def _carried(self, x: Tensor, a: Tensor, v: Tensor) -> Tensor:
        half = self._exp(a / 2)
        return x @ half @ skew(x.mH @ v) @ half

    @full_precision
    def transp_follow_expmap(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported to ``exp_x(u)``, without a logarithm."""
        return self._carried(x, skew(x.mH @ u), v)

    def expmap_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y = exp_x(u)`` and ``v`` transported to it."""
        return self.expmap(x, u), self.transp_follow_expmap(x, u, v)

    def retr_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``expmap_transp(x, u, v)``: the retraction is exp."""
        return self.expmap_transp(x, u, v)

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the identity."""
        return torch.eye(self.n, dtype=self._dtype(dtype), device=device).expand(self._size(size)).clone()

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return matrices from the Haar measure: the nearest ones to normal noise, whose law no rotation changes."""
        return self.projx(torch.randn(self._size(size), generator=generator, dtype=self._dtype(dtype), device=device))

    def _dtype(self, dtype: torch.dtype | None) -> torch.dtype | None:
        return dtype

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> tuple[Tensor, Tensor]:
        """Return two independent elements ``(g, h)`` from the Haar measure."""
        g, h = self.random(2, *self.point_shape, generator=generator, dtype=dtype).unbind(0)
        return g, h

    @full_precision
    def act(self, g: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        """Return ``g x h^H``."""
        left, right = g
        return left @ x @ right.mH

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return ``log |det phi(ad_a)|`` with ``phi(z) = (1 - exp(-z))/z``.

        ``phi`` is a block of the exponential of a block matrix of ``ad_a``, so derivatives exist at equal eigenvalues.
        """
        a = skew(x.mH @ u).unsqueeze(-3)
        eye = torch.eye(self.dim, dtype=a.real.dtype, device=a.device)
        basis = self.origin_vector(eye)
        ad = self.origin_coordinates(a @ basis - basis @ a).mT
        eye = eye.expand_as(ad)
        block = matrix_exp(torch.cat([torch.cat([-ad, eye], -1), torch.zeros_like(torch.cat([ad, ad], -1))], -2))
        return torch.linalg.slogdet(block[..., : self.dim, self.dim :]).logabsdet
