"""What the two metrics of the Stiefel manifold share."""

from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor
from torch.func import jacfwd, vmap

from isometry.manifolds._matrix_exp import matrix_exp
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._polar import polar_factor, tightened
from isometry.manifolds._precision import full_precision
from isometry.manifolds._stiefel_geodesics import displacement, proju, split, transported
from isometry.manifolds._stiefel_log import logmap
from isometry.manifolds._unitary import above, skew_from
from isometry.manifolds.base import HomogeneousManifold


class Stiefel(HomogeneousManifold):
    """The orthonormal frames ``x [n, k]`` of ``R^n``, ``x^T x = 1``, in a metric of the family of geodesics.

    Args:
        n: Number of rows, at least 2.
        k: Number of columns, ``1 <= k < n``; the square orthogonal matrices are ``SpecialOrthogonal(n)``.
    """

    beta: ClassVar[float]
    """The weight of the part of a tangent vector along ``x`` in the metric."""

    def __init__(self, n: int, k: int) -> None:
        super().__init__()
        if not 1 <= k < n:
            raise ValueError(
                f"{type(self).__name__}: expected frames of 1 <= k < n columns, but got n={n}, k={k}; "
                "for k = n take SpecialOrthogonal(n)."
            )
        self.n, self.k = n, k

    @property
    def dim(self) -> int:
        """The intrinsic dimension, ``n k - k(k+1)/2``."""
        return self.n * self.k - self.k * (self.k + 1) // 2

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are ``n x k`` matrices."""
        return (self.n, self.k)

    def with_dim(self, dim: int) -> NoReturn:
        """Raise: a dimension does not say which n and k are meant."""
        name = type(self).__name__
        raise ValueError(f"{self!r}: dim={dim} does not determine a Stiefel manifold; build {name}(n, k).")

    def point_residual(self, x: Tensor) -> Tensor:
        """Return ``|x^T x - 1|``."""
        return torch.linalg.matrix_norm(x.mT @ x - torch.eye(self.k, dtype=x.dtype, device=x.device))

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the length of the symmetric part of ``x^T u`` over ``|u|``."""
        length = torch.linalg.matrix_norm(u)
        along = x.mT @ u
        return torch.linalg.matrix_norm(along + along.mT) / (2 * torch.where(length == 0, 1, length))

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return the nearest frame, the polar factor ``x (x^T x)^(-1/2)``."""
        return polar_factor(x)

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u - x sym(x^T u)``."""
        return proju(x, u)

    @full_precision
    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x skew(x^T u)/beta + (1 - x x^T) u``."""
        a, w = split(x, u)
        return x @ a / self.beta + w

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``tr(u^T v) - (1 - beta) tr(u^T x x^T v)``."""
        v = u if v is None else v
        value = (u * v).sum((-2, -1), keepdim=True)
        if self.beta != 1:
            along = ((x.mT @ u) * (x.mT @ v)).sum((-2, -1), keepdim=True)
            value = value - (1 - self.beta) * along
        value = value.expand(torch.broadcast_shapes(value.shape, (*x.shape[:-2], 1, 1)))
        return value if keepdim else value.squeeze((-2, -1))

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the end of the geodesic, made orthonormal against drift."""
        return tightened(x + displacement(x, u, self.beta))

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``u`` with ``exp_x(u) = y``, NaN where the iteration does not converge (far beyond the radius)."""
        return logmap(x, y, self.beta)

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the parallel transport along the geodesic of ``logmap(x, y)``."""
        return proju(y, transported(x, logmap(x, y, self.beta), v, self.beta))

    @full_precision
    def transp_follow_expmap(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return ``v`` transported to ``exp_x(u)``, without a logarithm."""
        return transported(x, u, v, self.beta)

    def expmap_transp(self, x: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``y = exp_x(u)`` and ``v`` transported to it, without a logarithm."""
        return self.expmap(x, u), self.transp_follow_expmap(x, u, v)

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the first k columns of the identity matrix."""
        return torch.eye(self.n, self.k, dtype=dtype, device=device).expand(self._size(size)).clone()

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return uniformly distributed frames."""
        return self.projx(torch.randn(self._size(size), generator=generator, dtype=dtype, device=device))

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> Tensor:
        """Return an orthogonal n x n matrix from the Haar measure."""
        return random_orthogonal(self.n, generator, dtype)

    @full_precision
    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """Return ``g x``."""
        return g @ x

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return ``[a; b]``: a skew with ``z/sqrt(2 beta)`` above the diagonal, then b, both row by row."""
        turns, rest = z.split([self.k * (self.k - 1) // 2, (self.n - self.k) * self.k], -1)
        a = skew_from(turns / (2 * self.beta) ** 0.5, self.k)
        return torch.cat([a, rest.unflatten(-1, (self.n - self.k, self.k))], -2)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the coordinates of a tangent vector at the origin."""
        turns = above(u[..., : self.k, :]) * (2 * self.beta) ** 0.5
        return torch.cat([turns, u[..., self.k :, :].flatten(-2)], -1)

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``log |det|`` of the derivative of exp, taken by autograd and carried back to ``x`` by an isometry."""
        x, u = torch.broadcast_tensors(x, u)
        flat = vmap(self._log_det_exp)(x.reshape(-1, *self.point_shape), u.reshape(-1, *self.point_shape))
        return flat.reshape(x.shape[:-2])

    def _log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        size = self.n * self.k
        eye = torch.eye(size, dtype=x.dtype, device=x.device).reshape(size, self.n, self.k)
        a, w = split(x, u)
        p = w + self.beta * x @ a
        g, h = matrix_exp(p @ x.mT - x @ p.mT), matrix_exp((1 - 2 * self.beta) * a)
        slope = jacfwd(lambda v: displacement(x, proju(x, v), self.beta))(u).flatten(2).permute(2, 0, 1)
        tangential = proju(x, g.mT @ slope @ h.mT)
        normal = eye - proju(x, eye)
        return torch.linalg.slogdet((tangential + normal).reshape(size, size)).logabsdet
