"""A table of points."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.manifolds import HomogeneousManifold, ShapeError, register_manifold


@torch.no_grad()
def initial_points(
    count: int,
    manifold: HomogeneousManifold,
    scale: float,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "count n"]:
    """Return points near the origin, with coordinates uniform in (-scale, scale)."""
    coordinates = torch.empty(count, manifold.dim, dtype=dtype, device=device)
    if coordinates.is_meta:
        return coordinates.new_empty(count, *manifold.point_shape)
    u = manifold.origin_vector(coordinates.uniform_(-scale, scale))
    return manifold.expmap(manifold.origin(*u.shape, dtype=u.dtype, device=u.device), u)


class Embedding(nn.Embedding):
    r"""A lookup table whose rows are points of a manifold: ``index -> weight[index]``.

    Rows start near the origin, at ``exp_o(u)`` with the coordinates of ``u`` in an orthonormal frame uniform in
    (-init_scale, init_scale). It is an ``nn.Embedding``, the only module whose sparse gradients DDP accepts.

    Args:
        num_embeddings: Number of rows.
        manifold: Where the rows lie; its points are vectors.
        init_scale: Half-width of the initial coordinates, at least 0.
        sparse: Give sparse gradients, so that an optimizer touches only the rows of a batch.
        dtype: Of the table.
        device: Of the table.

    Raises:
        ShapeError: If the manifold's points are no vectors.
        ValueError: If ``init_scale`` is negative or not finite.

    Source: the initialisation is that of Nickel & Kiela 2017, section 3.
    """

    def __init__(
        self,
        num_embeddings: int,
        manifold: HomogeneousManifold,
        *,
        init_scale: float = 1e-3,
        sparse: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        if manifold.ndim != 1:
            raise ShapeError(
                f"Embedding: expected a manifold of vectors, but {manifold!r} has points {manifold.point_shape}."
            )
        if not 0 <= init_scale < math.inf:
            raise ValueError(f"Embedding: expected a finite init_scale >= 0, but got {init_scale}.")
        points = initial_points(num_embeddings, manifold, init_scale, dtype, device)
        super().__init__(num_embeddings, points.shape[-1], _weight=points, sparse=sparse)
        self.manifold, self.init_scale = manifold, init_scale
        register_manifold(self, "weight", manifold)

    def forward(self, index: Int[Tensor, "*b"]) -> Float[Tensor, "*b n"]:
        """Return the rows at ``index``."""
        return super().forward(index)
