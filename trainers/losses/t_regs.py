"""The length of minimum spanning trees, by which representations do not collapse."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from isometry.manifolds import Manifold
from isometry.models.constructions import minimum_spanning_tree


def spanning_tree_length(manifold: Manifold, x: Float[Tensor, "n *point"]) -> Float[Tensor, ""]:
    r"""Return ``E(x)``, the sum of the distances along the edges of the minimum spanning tree of points.

    Almost everywhere the tree does not change with its points, and the gradient is that of the edges' lengths: unit
    vectors along geodesics. An edge between equal points has none.

    Source: Mordacq et al. 2025, T-REGS: minimum spanning tree regularization for self-supervised learning.
    """
    each = x.detach()
    distances = manifold.dist(each.unsqueeze(1), each.unsqueeze(0))
    distances = (distances + distances.mT) / 2  # rounding may depend on the order
    parent, child = minimum_spanning_tree(distances.fill_diagonal_(0)).unbind(1)
    return manifold.dist(x[parent], x[child]).sum()


def simplex_length(num_points: int) -> float:
    r"""Return ``(n - 1) sqrt(2n/(n - 1))``: no n points of a unit sphere have a longer tree, measured by chords.

    The vertices of a regular simplex, and on spheres of at least ``n - 2`` dimensions only they, reach it; measured
    by arcs their tree has the length ``(n - 1) arccos(-1/(n - 1))``.

    Raises:
        ValueError: If there are fewer than two points.

    Source: Mordacq et al. 2025, T-REGS.
    """
    if num_points < 2:
        raise ValueError(f"simplex_length: expected at least 2 points, but got {num_points}.")
    return math.sqrt(2 * num_points * (num_points - 1))


class TREGSLoss(nn.Module):
    r"""``-E(x)/n + lambda/n sum_i (d(o, x_i) - 1)^2``, E the length of the minimum spanning tree of a batch.

    Its decrease spreads the points: many of them have a long tree where their density is uniform, few of them at the
    vertices of a simplex. Both counter a collapse to a point or to fewer dimensions. The second term, with the
    manifold's origin o, bounds the length where the manifold does not.

    Args:
        manifold: Where the representations lie.
        radius_weight: lambda, at least 0; 0 on compact manifolds, such as spheres.

    Raises:
        ValueError: If the weight is negative or not finite.

    Source: Mordacq et al. 2025, T-REGS: minimum spanning tree regularization for self-supervised learning, with the
    geodesic distance of any manifold.
    """

    def __init__(self, manifold: Manifold, radius_weight: float = 0.0) -> None:
        super().__init__()
        if not 0 <= radius_weight < math.inf:
            raise ValueError(f"TREGSLoss: expected a finite radius_weight >= 0, but got {radius_weight}.")
        self.manifold, self.radius_weight = manifold, radius_weight

    def forward(self, x: Float[Tensor, "n *point"]) -> Float[Tensor, ""]:
        """Return the loss of at least two points ``[n, *point_shape]``."""
        if len(x) < 2:
            raise ValueError(f"TREGSLoss: expected at least 2 points, but got {len(x)}.")
        self.manifold.check_shape(x)
        loss = -spanning_tree_length(self.manifold, x) / len(x)
        if self.radius_weight == 0:
            return loss
        origin = self.manifold.origin(*self.manifold.point_shape, dtype=x.dtype, device=x.device)
        return loss + self.radius_weight * (self.manifold.dist(origin, x) - 1).square().mean()

    def extra_repr(self) -> str:
        """Return the weight of the radius."""
        return f"radius_weight={self.radius_weight}"
