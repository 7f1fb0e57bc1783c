"""Rie-SNE: t-SNE from any manifold to any other."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers import Embedding
from isometry.manifolds import HomogeneousManifold, Manifold
from isometry.trainers.neighbor_embedding.affinities import heat_kernel_terms, joint_affinities
from isometry.trainers.optim import RiemannianAdam

_EARLY = 0.25  # of the steps, in which affinities are exaggerated


class RieSNE:
    r"""Place points of one manifold on another so that neighbours stay neighbours, by stochastic neighbour embedding.

    .. math:: \min_y \sum_{i \ne j} p_{ij} \log \frac{p_{ij}}{q_{ij}}, \qquad
        q_{ij} = \frac{f_{ij}}{\sum_{k \ne l} f_{kl}}, \quad f_{ij} = \frac{1}{1 + d^2(y_i, y_j)}

    with p of the Brownian motion on ``source`` (see ``joint_affinities``) and the distances of ``target``. From
    Euclidean space to the plane it is t-SNE. The kernel has the scale 1: ``Scaled(Sphere(2), 10.0)`` or a hyperbolic
    plane of small curvature gives the same picture more room. All pairs are computed in each step: a few thousand
    points; for more, see ``LargeVis``.

    Args:
        source: Where the points are.
        target: Where they are to be; its points are vectors.
        perplexity: About the number of neighbours that count.
        steps: Number of steps; in the first quarter p is multiplied by ``exaggeration``.
        exaggeration: See above.
        lr: Learning rate of ``RiemannianAdam``, in distances on ``target``.

    Attributes:
        divergence: The Kullback-Leibler divergence at the end.

    Source: Bergsson & Hauberg 2022; van der Maaten & Hinton 2008 (t-SNE).
    """

    divergence: float

    def __init__(
        self,
        source: Manifold,
        target: HomogeneousManifold,
        perplexity: float = 30.0,
        *,
        steps: int = 1000,
        exaggeration: float = 12.0,
        lr: float = 1.0,
    ) -> None:
        self.source, self.target = source, target
        self.perplexity, self.steps, self.exaggeration, self.lr = perplexity, steps, exaggeration, lr

    def fit_transform(self, x: Float[Tensor, "n *p"]) -> Float[Tensor, "n m"]:
        """Return the places on ``target`` of points of ``source``.

        Raises:
            OffManifoldError: If a point is not on ``source``.
            ValueError: If there are too few points for the perplexity.
        """
        return self.place(self.affinities(x)).to(x.dtype)

    def affinities(self, x: Float[Tensor, "n *p"]) -> Float[Tensor, "n n"]:
        """Return p of points of ``source``, float64."""
        self.source.assert_check_point_on_manifold(x)
        return joint_affinities(*heat_kernel_terms(self.source, x, x), self.perplexity)

    def place(
        self, p: Float[Tensor, "n n"], penalty: Callable[[Tensor], Tensor] = lambda y: y.new_zeros(())
    ) -> Float[Tensor, "n m"]:
        """Return places for given p, such as those of distances under a learned metric.

        Args:
            p: Joint affinities, float64.
            penalty: A function of the places that is added to the divergence.
        """
        module = Embedding(len(p), self.target, sparse=False, dtype=torch.float64)
        with torch.no_grad():
            module.weight.copy_(self._start(p))
        optimizer = RiemannianAdam(module, lr=self.lr)
        for step in range(self.steps):
            optimizer.zero_grad()
            y, exaggeration = module.weight, self.exaggeration if step < _EARLY * self.steps else 1.0
            (divergence(self.target, y, p, exaggeration) + penalty(y)).backward()
            optimizer.step()
        places = module.weight.detach()
        self.divergence = float(divergence(self.target, places, p))
        return places

    def _start(self, p: Tensor) -> Tensor:
        """Return the smoothest coordinates on the graph of p, of deviation 1e-4, around the origin of ``target``."""
        degree = p.sum(1).sqrt()
        vectors = torch.linalg.eigh(p / degree / degree.unsqueeze(1)).eigenvectors[:, -1 - self.target.dim : -1]
        z = vectors.flip(1) / degree.unsqueeze(1)
        u = self.target.origin_vector(1e-4 * z / z.std(0))
        return self.target.expmap(self.target.origin(*u.shape, dtype=u.dtype), u)


def divergence(
    target: Manifold, y: Float[Tensor, "n m"], p: Float[Tensor, "n n"], exaggeration: float = 1.0
) -> Float[Tensor, ""]:
    r"""Return ``sum_ij p_ij log(p_ij/q_ij)`` at the places ``y``, attractions ``-p_ij log f_ij`` times exaggeration."""
    i, j = torch.triu_indices(len(y), len(y), 1)
    dist2, pairs = target.dist2(y.index_select(0, i), y.index_select(0, j)), p[i, j]
    total = 2 * (1 / (1 + dist2)).sum()
    attraction = exaggeration * (pairs * dist2.log1p()).sum()
    return 2 * (torch.special.xlogy(pairs, pairs).sum() + attraction) + total.log()
