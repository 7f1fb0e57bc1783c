"""CO-SNE: pictures of hyperbolic embeddings that keep how deep a point is."""

from jaxtyping import Float
from torch import Tensor

from isometry.manifolds import Lorentz, PoincareBall
from isometry.trainers.neighbor_embedding.rie_sne import RieSNE


class COSNE(RieSNE):
    r"""Rie-SNE from hyperbolic space to the Poincare disk that keeps the distances to the origin, too.

    .. math:: \sum_{i \ne j} p_{ij} \log \frac{p_{ij}}{q_{ij}} + \frac \lambda n \sum_i (\rho(x_i) - \rho(y_i))^2,
        \qquad q_{ij} \propto \frac{1}{1 + d^2(y_i, y_j)/\gamma^2}, \quad \rho = \sqrt{c}\, d(o, \cdot)

    Args:
        source: Where the points are.
        perplexity: About the number of neighbours that count.
        scale: gamma, of the Cauchy kernel; a smaller one gives neighbours more room on the disk.
        radius_weight: lambda.
        steps: Number of steps.

    Source: Guo, Guo & Yu 2022. Their second term compares squared norms in the ball, which are all near 1 far out; rho
    tells depths apart there.
    """

    def __init__(
        self,
        source: PoincareBall | Lorentz,
        perplexity: float = 30.0,
        *,
        scale: float = 0.1,
        radius_weight: float = 1.0,
        steps: int = 1000,
    ) -> None:
        if not (scale > 0 and radius_weight >= 0):
            raise ValueError(f"COSNE: expected scale > 0 and radius_weight >= 0, but got {scale} and {radius_weight}.")
        # distances over gamma are those of curvature -gamma^2
        super().__init__(source, PoincareBall(2, c=scale**2), perplexity, steps=steps)
        self.scale, self.radius_weight = scale, radius_weight

    def fit_transform(self, x: Float[Tensor, "n *p"]) -> Float[Tensor, "n 2"]:
        """Return points of ``PoincareBall(2)`` for points of ``source``.

        Raises:
            OffManifoldError: If a point is not on ``source``.
            ValueError: If there are too few points for the perplexity.
        """
        p = self.affinities(x)
        depth = _depth(self.source, x.double())

        def penalty(y: Tensor) -> Tensor:
            return self.radius_weight * (_depth(self.target, y) - depth).square().mean()

        return (self.scale * self.place(p, penalty)).to(x.dtype)


def _depth(manifold: PoincareBall | Lorentz, x: Tensor) -> Tensor:
    """Return ``sqrt(c) d(o, x)``."""
    origin = manifold.origin(*manifold.point_shape, dtype=x.dtype)
    return manifold.c**0.5 * manifold.dist(origin, x)
