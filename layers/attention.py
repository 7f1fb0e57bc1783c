"""Attention between points of a manifold."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers._translation import origin_like, view
from isometry.manifolds import Manifold, ShapeError
from isometry.manifolds._precision import full_precision


class Attention(nn.Module):
    r"""Points of a sequence become Frechet means of values, weighted by how near the keys are to the query.

    ``y_i = argmin_y sum_j w_ij d(y, v_j)^2`` with ``w_ij = softmax_j 1 / (1 + log(1 + d(q_i, k_j)))`` for the queries
    ``q = query(x)``, the keys ``k = key(x)`` and the values ``v = value(x)``.

    Args:
        manifold: Where queries, keys and values lie.
        query: Module that makes queries of the points of a sequence, such as ``BiMap``.
        key: Module that makes keys.
        value: Module that makes values.

    Source: Pan, Chou & Wei 2022, MAtt: a manifold attention network for EEG decoding, section 3.3, on the log-Euclidean
    matrices.
    """

    def __init__(self, manifold: Manifold, query: nn.Module, key: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.manifold, self.query, self.key, self.value = manifold, query, key, value
        self._view = view(manifold)

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    def forward(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*c"]:
        """Return points ``[*b, s, *point_shape]`` for a sequence ``[*b, s, ...]`` of what the modules take."""
        q, k, v = self.query(x), self.key(x), self.value(x)
        for name, points in (("query", q), ("key", k), ("value", v)):
            self.manifold.check_shape(points, name)
        if q.ndim == self.manifold.ndim:
            raise ShapeError(f"Attention: expected a sequence of points, but got one point {list(q.shape)}.")
        return self._attended(q, k, v)

    @full_precision
    def _attended(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        m, axis = self._view.manifold, -1 - self.manifold.ndim
        q, k, v = (self._view.points(x) for x in (q, k, v))
        distances = self._view.scale * m.dist(q.unsqueeze(axis), k.unsqueeze(axis - 1))
        weights = (1 / (1 + distances.log1p())).softmax(-1)
        if self._view.translation.flat:  # a logarithm of each value, not of each value for each query
            origin = origin_like(m, v)
            logs = m.logmap(origin, v).flatten(axis + 1)
            return self._view.back(m.expmap(origin, (weights @ logs).unflatten(-1, m.point_shape)))
        return self._view.back(m.frechet_mean(v.unsqueeze(axis - 1).expand(*weights.shape, *m.point_shape), weights))
