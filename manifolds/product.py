"""The product of manifolds."""

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from isometry.manifolds._precision import full_precision
from isometry.manifolds.base import HeatKernelManifold, HomogeneousManifold, Manifold


class Product(HomogeneousManifold, HeatKernelManifold):
    r"""The product ``M_1 x ... x M_k`` with the sum of the metrics, so that ``d^2 = sum_i d_i^2``.

    A point is the factors' points, flattened and concatenated; ``split`` and ``join`` convert. Everything acts factor
    by factor. ``supports`` tells whether the members of a capability class work: they do where every factor has them.

    Args:
        manifolds: The factors, at least one.

    Source: Gu, Sala, Gunel & Re 2019, section 3.
    """

    def __init__(self, manifolds: Sequence[Manifold]) -> None:
        super().__init__()
        if not manifolds:
            raise ValueError("Product: expected at least one factor, but got an empty list.")
        self.manifolds: Sequence[Any] = nn.ModuleList(manifolds)  # type: ignore[assignment]
        self.parallel = all(m.parallel for m in manifolds)

    @property
    def dim(self) -> int:
        """The sum of the factors' dimensions."""
        return sum(m.dim for m in self.manifolds)

    @property
    def point_shape(self) -> tuple[int, ...]:
        """Points are vectors."""
        return (sum(self._sizes()),)

    @property
    def c(self) -> tuple[Any, ...]:
        """The curvatures of the factors, for ``rescale``."""
        return tuple(m.c for m in self.manifolds)

    def _sizes(self) -> list[int]:
        return [math.prod(m.point_shape) for m in self.manifolds]

    def split(self, x: Tensor) -> list[Tensor]:
        """Return the factors' points (or vectors) in ``x``."""
        parts = x.split(self._sizes(), -1)
        return [p.reshape(p.shape[:-1] + m.point_shape) for m, p in zip(self.manifolds, parts, strict=True)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the point (or vector) whose factors are ``parts``, all of one batch shape."""
        pairs = zip(self.manifolds, parts, strict=True)
        return torch.cat([p.reshape(*p.shape[: p.ndim - m.ndim], -1) for m, p in pairs], -1)

    def _each(self, method: str, *tensors: Tensor) -> list[Tensor]:
        """Return the results of a method that takes points and vectors, one per factor."""
        parts = zip(self.manifolds, *map(self.split, tensors), strict=True)
        return [getattr(m, method)(*arguments) for m, *arguments in parts]

    def supports(self, capability: type) -> bool:
        """Return whether every factor has the members of ``capability``."""
        return super().supports(capability) and all(m.supports(capability) for m in self.manifolds)

    def with_dim(self, dim: int) -> Self:
        """Return the product of the same factors, their dimensions in proportion as nearly as integers allow."""
        ends = [0, *itertools.accumulate(m.dim for m in self.manifolds)]
        shares = [round(dim * b / self.dim) - round(dim * a / self.dim) for a, b in itertools.pairwise(ends)]
        return type(self)([m.with_dim(share) for m, share in zip(self.manifolds, shares, strict=True)])

    def extra_repr(self) -> str:
        """Return the factors."""
        return repr(list(self.manifolds))

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the widest of the factors' formats."""
        return functools.reduce(torch.promote_types, (m.compute_dtype(dtype) for m in self.manifolds))

    def injectivity_radius(self) -> float:
        """Return the least of the factors'."""
        return min(m.injectivity_radius() for m in self.manifolds)

    def point_residual(self, x: Tensor) -> Tensor:
        """Return the largest of the factors' residuals."""
        return functools.reduce(torch.maximum, self._each("point_residual", x))

    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the largest of the factors' residuals."""
        return functools.reduce(torch.maximum, self._each("tangent_residual", x, u))

    def projx(self, x: Tensor) -> Tensor:
        """Return the factors' projections."""
        return self.join(self._each("projx", x))

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the factors' projections."""
        return self.join(self._each("proju", x, u))

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the factors' Riemannian gradients."""
        return self.join(self._each("egrad2rgrad", x, u))

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return ``sum_i <u_i, v_i>_(x_i)``."""
        value = functools.reduce(operator.add, self._each("inner", x, u, u if v is None else v))
        return value.unsqueeze(-1) if keepdim else value

    def component_inner(self, x: Tensor, u: Tensor, v: Tensor | None = None) -> Tensor:
        """Return ``<u_i, v_i>_(x_i)`` in the coordinates of each factor i: what an adaptive optimizer divides by."""
        values = self._each("component_inner", x, u, u if v is None else v)
        shapes = [p.shape for p in self._each("proju", x, u)]
        return self.join([value.expand(shape) for value, shape in zip(values, shapes, strict=True)])

    @full_precision
    def dist2(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Return ``sum_i d_i(x_i, y_i)^2``."""
        value = functools.reduce(operator.add, self._each("dist2", x, y))
        return value.unsqueeze(-1) if keepdim else value

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the factors' exponential maps."""
        return self.join(self._each("expmap", x, u))

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the factors' retractions."""
        return self.join(self._each("retr", x, u))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the factors' logs."""
        return self.join(self._each("logmap", x, y))

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the factors' transports."""
        return self.join(self._each("transp", x, y, v))

    def frechet_mean(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the factors' means: the objective is a sum over factors."""
        pairs = zip(self.manifolds, self.split(x), strict=True)
        return self.join([m.frechet_mean(part, weights) for m, part in pairs])

    def rescale(self, x: Tensor, c_old: Sequence[Any]) -> Tensor:
        """Return ``x`` with each factor moved from its old curvature to its present one."""
        triples = zip(self.manifolds, self.split(x), c_old, strict=True)
        return self.join([m.rescale(part, c) for m, part, c in triples])

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the factors' base points."""
        batch = self._size(size)[:-1]
        return self.join([m.origin(*batch, *m.point_shape, dtype=dtype, device=device) for m in self.manifolds])

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return independent random points of the factors."""
        batch = self._size(size)[:-1]
        options = {"generator": generator, "dtype": dtype, "device": device}
        return self.join([m.random(*batch, *m.point_shape, **options) for m in self.manifolds])

    # --- homogeneous where every factor is --------------------------------------------------------------------

    def random_isometry(self, generator: torch.Generator | None = None, dtype: Any = None) -> list[Any]:
        """Return one isometry per factor."""
        return [m.random_isometry(generator, dtype) for m in self.manifolds]

    def act(self, g: Sequence[Any], x: Tensor) -> Tensor:
        """Return the factors' images under their isometries."""
        triples = zip(self.manifolds, g, self.split(x), strict=True)
        return self.join([m.act(isometry, part) for m, isometry, part in triples])

    def origin_vector(self, z: Tensor) -> Tensor:
        """Return the factors' vectors for their shares of ``z``."""
        pairs = zip(self.manifolds, self.split_coordinates(z), strict=True)
        return self.join([m.origin_vector(part) for m, part in pairs])

    def split_coordinates(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return the factors' shares of ``dim`` coordinates in an orthonormal frame."""
        return z.split([m.dim for m in self.manifolds], -1)

    def origin_coordinates(self, u: Tensor) -> Tensor:
        """Return the factors' coordinates, concatenated."""
        return torch.cat(self._each("origin_coordinates", u), -1)

    @full_precision
    def log_det_exp(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the sum over the factors."""
        return functools.reduce(operator.add, self._each("log_det_exp", x, u))

    # --- heat kernel where every factor has one ---------------------------------------------------------------

    @full_precision
    def heat_kernel_log_prob(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum over the factors: their Brownian motions are independent."""
        triples = zip(self.manifolds, self.split(x), self.split(y), strict=True)
        return functools.reduce(operator.add, [m.heat_kernel_log_prob(t, *points) for m, *points in triples])

    def sample_heat_kernel(self, t: Tensor, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return independent Brownian motions of the factors."""
        pairs = zip(self.manifolds, self.split(x), strict=True)
        return self.join([m.sample_heat_kernel(t, part, generator) for m, part in pairs])

    def volume(self) -> float:
        """Return the product of the factors' volumes."""
        return math.prod(m.volume() for m in self.manifolds)
