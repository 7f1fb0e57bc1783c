"""What Euclidean space and the flat torus share: the metric of R^n, under which vectors need no transport."""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import dot
from isometry.manifolds.base import HeatKernelManifold, HomogeneousManifold


class FlatManifold(HomogeneousManifold, HeatKernelManifold):
    """A quotient of R^n by translations.

    Args:
        dim: Intrinsic dimension, at least 1; points have ``dim`` coordinates.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"{type(self).__name__}: expected an intrinsic dimension >= 1, but got dim={dim}.")
        self._dim = dim

    @property
    def dim(self) -> int:
        """The intrinsic dimension."""
        return self._dim

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are vectors of ``dim`` coordinates."""
        return (self.dim,)

    def with_dim(self, dim: int) -> Self:
        """Return the same geometry in another dimension."""
        return type(self)(dim)

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return 0 for finite vectors: every vector of R^n is tangent."""
        return (u - u).sum(-1)

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u``: every vector of R^n is tangent."""
        return u.expand(torch.broadcast_shapes(x.shape, u.shape))

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u``: the metric is that of R^n."""
        return self.proju(x, u)

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``u.v``."""
        value = dot(u, u if v is None else v)
        value = value.expand(torch.broadcast_shapes(value.shape, (*x.shape[:-1], 1)))
        return value if keepdim else value.squeeze(-1)

    def component_inner(self, x: Tensor, u: Tensor, v: Tensor | None = None) -> Tensor:
        """Return ``u_i v_i``: each coordinate is a factor, so that an adaptive optimizer is the Euclidean one."""
        return self.proju(x, u * (u if v is None else v))

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return ``v``."""
        return v.expand(torch.broadcast_shapes(x.shape, y.shape, v.shape))

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return 0."""
        return torch.zeros(self._size(size), dtype=dtype, device=device)

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return ``z``."""
        return z

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return ``u``."""
        return u

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return 0."""
        return self.inner(x, torch.zeros_like(u))

    def act(self, g: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        """Return ``Q x + p`` for ``g = (Q, p)``."""
        return self._act(g[0], g[1], x)

    @full_precision
    def _act(self, q: Tensor, p: Tensor, x: Tensor) -> Tensor:
        return self.expmap(x @ q.mT, p)

    @full_precision
    def sample_heat_kernel(self, t: Tensor, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return ``exp_x(sqrt(t) z)`` with ``z`` standard normal: exact, as the covering R^n has the same kernel."""
        shape = torch.broadcast_shapes(t.shape, x.shape[:-1]) + x.shape[-1:]
        z = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
        return self.expmap(x, t.sqrt().unsqueeze(-1) * z)
