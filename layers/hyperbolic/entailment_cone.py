"""Cones of entailment: what is below a point in a hierarchy."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers.hyperbolic._hyperboloid import Curvature, Space, SpaceLayer, curvature, is_flat, time_of
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import dot, norm, with_value


def _ahead(s: Tensor, u: Tensor, c: Curvature) -> tuple[Tensor, Tensor]:
    """Return how far ``u`` lies outwards of ``s`` and beside, on the hyperboloid moved so that ``s`` is its origin.

    Outwards is ``t u_1 - |s| t'`` with ``u_1`` along ``s``; where ``u_1 > 0`` the difference is taken of squares.
    """
    length = norm(s, keepdim=True)
    ray = s / torch.where(length > 0, length, 1)
    along = dot(u, ray)
    across = norm(u - along * ray, keepdim=True)
    t, t_other = time_of(s, c), time_of(u, c)
    first, second = t * along, length * t_other
    near = along > 0
    squares = (along - length) * (along + length) - c * (length * across).square()
    exact = torch.where(near, squares / torch.where(near, first + second, 1), first - second)
    return with_value(exact, first - second), across


class EntailmentCone(SpaceLayer):
    r"""How far y lies outside of the cone below x: ``E(x, y) = max(0, angle - aperture)``, 0 inside.

    The angle, at x, is between the ray from the origin and the geodesic to y. The cone's half-aperture is
    ``asin(2K/(sqrt(c)|s|))`` with the spatial part s of x on the hyperboloid, which is ``asin(K (1 - |x|^2)/|x|)`` on
    the unit ball: cones of points inside lie inside. Nearer to the origin than where that is a right angle, the cone
    is a half-space. Both models agree; on ``Euclidean(n)`` the aperture is ``asin(K/|x|)``. Rotations leave the
    energy as it is, translations do not.

    Args:
        manifold: Where the points lie.
        K: How wide cones are, positive.

    Raises:
        ValueError: If K is not positive, or the manifold has no constant curvature of at most 0.

    Source: Ganea, Becigneul & Hofmann 2018, Hyperbolic entailment cones for learning hierarchical embeddings; on the
    hyperboloid Desai et al. 2023, Hyperbolic image-text representations.
    """

    def __init__(self, manifold: Space, K: float = 0.1) -> None:
        super().__init__(manifold)
        if not K > 0:
            raise ValueError(f"EntailmentCone: expected K > 0, but got K={K}.")
        self.K = K

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    def forward(self, x: Float[Tensor, "*#b n"], y: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b"]:
        """Return the energies of pairs: x is above (the more general one), y below."""
        for name, points in (("x", x), ("y", y)):
            self.manifold.check_shape(points, name)
        return self._energy(self.manifold.spatial(x), self.manifold.spatial(y))

    @full_precision
    def _energy(self, s: Tensor, u: Tensor) -> Tensor:
        c = curvature(self.manifold)
        ahead, across = _ahead(s, u, c)
        same = (ahead == 0) & (across == 0)
        angle = torch.atan2(across, torch.where(same, 1, ahead))
        length, wide = norm(s, keepdim=True), self.K if is_flat(c) else 2 * self.K / c**0.5
        narrow = length > wide
        aperture = torch.where(
            narrow, torch.where(narrow, wide / torch.where(narrow, length, 1), 0).asin(), math.pi / 2
        )
        return (angle - aperture).clamp_min(0).squeeze(-1)

    def extra_repr(self) -> str:
        """Return K."""
        return f"K={self.K}"
