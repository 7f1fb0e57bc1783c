"""Tensors of fixed rank as dense tensors."""

from typing import Any, NoReturn

import torch
from torch import Tensor

from isometry.manifolds._precision import full_precision
from isometry.manifolds.base import EmbeddedManifold
from isometry.manifolds.low_rank.base import LowRankManifold, Ranks


class FixedRankDense(EmbeddedManifold):
    r"""The real tensors of fixed rank as a submanifold of all tensors of their shape, each point one dense tensor.

    ``<u, v>`` is the Euclidean product, ``P_x`` the projection of the low-rank manifold, and ``retr_x(u)`` the
    truncation of ``x + u``, a retraction of second order. This is for optimizers and layers that know points as single
    tensors, geoopt's among them; it decomposes dense tensors all the time, so training belongs to the factors.

    Geodesics have no closed form, and the manifold is not complete: near tensors of lower rank it has any curvature. So
    exp, log and distances are not offered (``NotImplementedError``), and the radius of injectivity is 0. Transport is
    the projection.

    Args:
        low_rank: The shape and the format, such as ``FixedRankMatrix(m, n)`` or ``FixedRankTT(shape)``.
        ranks: The ranks, such as tensors attain.

    Raises:
        ValueError: No tensor has these ranks.

    Source: Vandereycken 2013; Absil & Oseledets 2015, Low-rank retractions: a survey and new results.
    """

    parallel = False

    def __init__(self, low_rank: LowRankManifold[Any, Any], ranks: Ranks) -> None:
        super().__init__()
        self.low_rank, self.ranks = low_rank, low_rank.check_ranks(ranks)
        self._dim = low_rank.dim(self.ranks)

    @property
    def dim(self) -> int:
        """The dimension of the low-rank manifold."""
        return self._dim

    @property
    def point_shape(self) -> tuple[int, ...]:
        """The shape of the tensors."""
        return self.low_rank.shape

    @property
    def spec(self) -> dict[str, Any]:
        """The class and its arguments as plain data."""
        return {
            "class_path": "isometry.manifolds.low_rank.FixedRankDense",
            "init_args": {"low_rank": self.low_rank.spec, "ranks": list(self.ranks)},
        }

    def extra_repr(self) -> str:
        """Return the low-rank manifold and the ranks."""
        return f"{self.low_rank!r}, {self.ranks}"

    def with_dim(self, dim: int) -> NoReturn:
        """Raise: a dimension does not say which shape and ranks are meant."""
        raise ValueError(f"{self!r}: dim={dim} does not determine shape and ranks; build FixedRankDense anew.")

    def injectivity_radius(self) -> float:
        """Return 0: it is as small as the least singular value."""
        return 0.0

    def _nearest(self, x: Tensor) -> Any:
        return self.low_rank.from_dense(x, ranks=self.ranks)

    def _length(self, u: Tensor, *, keepdim: bool = False) -> Tensor:
        return torch.linalg.vector_norm(u, dim=tuple(range(-self.ndim, 0)), keepdim=keepdim)

    @full_precision
    def point_residual(self, x: Tensor) -> Tensor:
        """Return ``|x - projx(x)| / |x|``."""
        length = self._length(x)  # NaN for NaN, which no decomposition takes
        distance = self._length(x - self.projx(torch.nan_to_num(x)))
        return distance / torch.where(length == 0, 1, length)

    @full_precision
    def tangent_residual(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``|u - P_x(u)| / |u|``."""
        length = self._length(u)
        return self._length(u - self.proju(x, u)) / torch.where(length == 0, 1, length)

    @full_precision
    def projx(self, x: Tensor) -> Tensor:
        """Return the truncation to the ranks: the best approximation of a matrix, nearly so of others."""
        return self.low_rank.to_dense(self._nearest(x))

    @full_precision
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``P_x(u)``."""
        x, u = torch.broadcast_tensors(x, u)
        point = self._nearest(x)
        return self.low_rank.to_dense(self.low_rank.vector(point, self.low_rank.project(point, u)))

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return the sum of the products of all entries."""
        dims = tuple(range(-self.ndim, 0))
        value = (u * (u if v is None else v)).sum(dims, keepdim=True)
        value = value.expand(torch.broadcast_shapes(value.shape, (*x.shape[: x.ndim - self.ndim], *[1] * self.ndim)))
        return value if keepdim else value.squeeze(dims)

    @full_precision
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Return the truncation of ``x + u``."""
        return self.projx(x + u)

    @full_precision
    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return the projection of ``v`` to the tangent space at ``y``, a vector transport."""
        return self.proju(y, v)

    def expmap(self, x: Tensor, u: Tensor) -> NoReturn:
        """Raise: geodesics have no closed form; ``retr`` is their approximation of second order."""
        raise NotImplementedError(f"{self!r} has no exponential map in closed form; use `retr`, as optimizers do.")

    def logmap(self, x: Tensor, y: Tensor) -> NoReturn:
        """Raise: geodesics have no closed form."""
        raise NotImplementedError(
            f"{self!r} has no logarithm in closed form, and so no distance: compare dense tensors."
        )

    def origin(self, *size: Any, dtype: Any = None, device: Any = None, seed: Any = 42) -> Tensor:
        """Return the random point of norm 1 that belongs to the seed: no point is special."""
        generator = torch.Generator().manual_seed(seed)
        x = self.low_rank.random(self.ranks, generator=generator, dtype=dtype)
        return self.low_rank.to_dense(x).to(device).expand(self._size(size)).clone()

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return random points of norm 1 with uniform bases and a flat spectrum."""
        batch = self._size(size)[: -self.ndim]
        x = self.low_rank.random(self.ranks, batch=batch, generator=generator, dtype=dtype, device=device)
        return self.low_rank.to_dense(x)
