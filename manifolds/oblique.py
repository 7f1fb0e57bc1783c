"""The oblique manifold."""

import math
from typing import Any, NoReturn

import torch
from torch import Tensor

from isometry.manifolds import sphere
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import dot, norm, sinc_sqrt
from isometry.manifolds.base import EmbeddedManifold, HomogeneousManifold


class Oblique(EmbeddedManifold, HomogeneousManifold):
    r"""The matrices ``x [n, k]`` with columns of length 1: k points of the sphere in ``R^n``, ``d^2 = sum_j d_j^2``.

    Accuracy: as ``Sphere``. An adaptive optimizer keeps one second moment per column.

    Args:
        n: Number of rows, at least 2.
        k: Number of columns, at least 1.

    Source: Absil & Gallivan 2006, Joint diagonalization on the oblique manifold.
    """

    def __init__(self, n: int, k: int) -> None:
        super().__init__()
        if n < 2 or k < 1:
            raise ValueError(f"Oblique: expected n >= 2 rows and k >= 1 columns, but got n={n}, k={k}.")
        self.n, self.k = n, k

    @property
    def dim(self) -> int:
        """The intrinsic dimension, ``(n - 1) k``."""
        return (self.n - 1) * self.k

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are ``n x k`` matrices."""
        return (self.n, self.k)

    def with_dim(self, dim: int) -> NoReturn:
        """Raise: a dimension does not say which n and k are meant."""
        raise ValueError(f"{self!r}: dim={dim} does not determine an oblique manifold; build Oblique(n, k).")

    def injectivity_radius(self) -> float:
        """Return pi."""
        return math.pi

    def point_residual(self, x: Tensor) -> Tensor:
        """Return the largest ``| |x_j| - 1 |``."""
        return (norm(x.mT) - 1).abs().amax(-1)

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the length of the inner products ``<x_j, u_j>`` over ``|u|``."""
        length = torch.linalg.matrix_norm(u)
        return norm((x * u).sum(-2)) / torch.where(length == 0, 1, length)

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return the columns divided by their lengths (NaN where one is 0)."""
        return x / (x * x).sum(-2, keepdim=True).sqrt()

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u_j - <x_j, u_j> x_j``."""
        return u - (x * u).sum(-2, keepdim=True) * x

    def _columns(self, x: Tensor, u: Tensor, v: Tensor | None) -> Tensor:
        """Return ``u_j.v_j``, a row."""
        value = (u * (u if v is None else v)).sum(-2, keepdim=True)
        return value.expand(torch.broadcast_shapes(value.shape, (*x.shape[:-2], 1, self.k)))

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``tr(u^T v)``."""
        value = self._columns(x, u, v).sum(-1, keepdim=True)
        return value if keepdim else value.squeeze((-2, -1))

    @full_precision
    def component_inner(self, x: Tensor, u: Tensor, v: Tensor | None = None) -> Tensor:
        """Return the row of ``u_j.v_j``: each column is a factor for an adaptive optimizer."""
        return self._columns(x, u, v)

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return the sum of the squared angles between the columns, analytic at ``x = y``."""
        value = sphere.dist2(x.mT, y.mT).sum(-2, keepdim=True)
        return value if keepdim else value.squeeze((-2, -1))

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the ends of the great arcs, normalised against drift."""
        return self.projx(sphere.expmap(x.mT, u.mT).mT)

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the initial velocities of the shorter great arcs."""
        return sphere.logmap(x.mT, y.mT).mT

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport along the shorter great arcs."""
        return sphere.transp(x.mT, y.mT, v.mT).mT

    def frechet_mean(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the means of the columns: the objective is a sum over them."""
        shared = None if weights is None else weights.unsqueeze(-2)
        return sphere.Sphere(self.n - 1).frechet_mean(x.movedim(-1, -3), shared).mT

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the matrix whose columns all are ``(1, 0, ..., 0)``."""
        x = torch.zeros(self._size(size), dtype=dtype, device=device)
        x[..., 0, :] = 1
        return x

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return matrices of independent uniformly distributed columns."""
        return self.projx(torch.randn(self._size(size), generator=generator, dtype=dtype, device=device))

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> Tensor:
        """Return an orthogonal matrix from the Haar measure for each column, ``[k, n, n]``."""
        return torch.stack([random_orthogonal(self.n, generator, dtype) for _ in range(self.k)])

    @full_precision
    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """Return ``g_j x_j``."""
        return (g @ x.mT.unsqueeze(-1)).squeeze(-1).mT

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return ``z`` as a matrix below a row of zeros."""
        rows = z.unflatten(-1, (self.n - 1, self.k))
        return torch.cat([torch.zeros_like(rows[..., :1, :]), rows], -2)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the rows of ``u`` but the first, one after the other."""
        return u[..., 1:, :].flatten(-2)

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``(n - 2) sum_j log |sin|u_j|/|u_j||``."""
        angles2 = dot(u.mT, u.mT).expand(*torch.broadcast_shapes(x.shape, u.shape)[:-2], self.k, 1)
        return (self.n - 2) * sinc_sqrt(angles2).abs().log().sum((-2, -1))
