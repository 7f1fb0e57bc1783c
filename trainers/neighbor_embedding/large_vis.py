"""LargeVis: pictures of many points, by sampled neighbours and sampled others."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isometry.manifolds import HomogeneousManifold, Manifold
from isometry.models import NodeEmbedding
from isometry.trainers.neighbor_embedding.affinities import conditional_affinities, heat_kernel_terms
from isometry.trainers.optim import RiemannianSGD

_NEGATIVE_POWER = 0.75
_CLIP = 5.0  # of a pair's slope
_ROWS = 2**20  # distances of a chunk of the search for neighbours


class LargeVis:
    r"""Place points of one manifold on another so that neighbours are near and others far, by stochastic gradients.

    .. math:: \max_y \sum_{(i, j) \in E} w_{ij} \Bigl( \log f_{ij} + \gamma \sum_{k=1}^{M} \log(1 - f_{i j_k}) \Bigr),
        \qquad f_{ij} = \frac{1}{1 + d^2(y_i, y_j)}

    over the graph E of nearest neighbours on ``source``, ``w_ij = (p_j|i + p_i|j)/2n`` of the Brownian motion among
    them (see ``conditional_affinities``). An edge is sampled in proportion to w, the M others ``j_k`` to degree^0.75,
    and the rate falls to 0. Time grows with the number of points, but for the search, which compares all pairs once.

    Args:
        source: Where the points are.
        target: Where they are to be; its points are vectors.
        perplexity: About the number of neighbours that count; three times as many are searched.
        epochs: Sampled edges over points.
        num_negatives: M.
        gamma: Weight of the others.
        lr: Learning rate at the start.
        seed: Of samples and start.

    Source: Tang, Liu, Zhang & Mei 2016; on manifolds by the distance and the exponential map.
    """

    def __init__(
        self,
        source: Manifold,
        target: HomogeneousManifold,
        perplexity: float = 30.0,
        *,
        epochs: int = 2000,
        num_negatives: int = 5,
        gamma: float = 7.0,
        lr: float = 1.0,
        seed: int = 0,
    ) -> None:
        if epochs < 1 or num_negatives < 1:
            raise ValueError(
                f"LargeVis: expected epochs and num_negatives of at least 1, but got {epochs} and {num_negatives}."
            )
        self.source, self.target, self.perplexity = source, target, perplexity
        self.epochs, self.num_negatives, self.gamma, self.lr, self.seed = epochs, num_negatives, gamma, lr, seed

    def fit_transform(self, x: Float[Tensor, "n *p"]) -> Float[Tensor, "n m"]:
        """Return the places on ``target`` of points of ``source``.

        Raises:
            OffManifoldError: If a point is not on ``source``.
            ValueError: If there are too few points for the perplexity.
        """
        self.source.assert_check_point_on_manifold(x)
        edges, weights = neighbor_graph(self.source, x, self.perplexity)
        generator = torch.Generator().manual_seed(self.seed)
        degree = torch.zeros(len(x), dtype=weights.dtype).index_add(0, edges[:, 0], weights)
        batch = max(1, len(x) // 8)  # few enough that a point rarely moves twice in a step
        steps = self.epochs * len(x) // batch
        model = NodeEmbedding(len(x), self.target, dtype=x.dtype)
        with torch.no_grad():
            z = 1e-4 * torch.randn(len(x), self.target.dim, generator=generator, dtype=x.dtype)
            u = self.target.origin_vector(z)
            model.nodes.weight.copy_(self.target.expmap(self.target.origin(*u.shape, dtype=u.dtype), u))
        optimizer = RiemannianSGD(model, lr=self.lr)
        draw_edges, draw_others = _Sampler(weights, generator), _Sampler(degree**_NEGATIVE_POWER, generator)
        for step in range(steps):
            index = torch.cat([edges[draw_edges(batch)], draw_others(batch, self.num_negatives)], 1)
            optimizer.param_groups[0]["lr"] = self.lr * (1 - step / steps)
            optimizer.zero_grad()
            contrast(model(index), self.gamma).backward()
            optimizer.step()
        return model.nodes.weight.detach()


def neighbor_graph(
    manifold: Manifold, x: Float[Tensor, "n *p"], perplexity: float
) -> tuple[Int[Tensor, "e 2"], Float[Tensor, " e"]]:
    """Return edges, in both directions, to three times the perplexity of nearest neighbours, and w, of sum 1."""
    n = len(x)
    k = min(n - 1, int(3 * perplexity))
    near, terms = [], []
    for rows in torch.arange(n).split(max(1, _ROWS // n)):
        dist2, log_h0 = heat_kernel_terms(manifold, x[rows], x)
        dist2[torch.arange(len(rows)), rows] = torch.inf
        nearest = dist2.topk(k, largest=False)
        near.append(nearest.indices)
        terms.append(conditional_affinities(nearest.values, log_h0.gather(1, nearest.indices), perplexity))
    i, j, p = torch.arange(n).repeat_interleave(k), torch.cat(near).flatten(), torch.cat(terms).flatten() / (2 * n)
    keys, inverse = torch.cat([i * n + j, j * n + i]).unique(return_inverse=True)
    return torch.stack([keys // n, keys % n], 1), p.new_zeros(len(keys)).index_add(0, inverse, p.repeat(2))


def contrast(dist: Float[Tensor, "b m"], gamma: float) -> Float[Tensor, ""]:
    r"""Return ``-log f(d_0) - gamma sum_k log(1 - f(d_k))``, summed over the batch; its slopes are clipped to 5."""
    if dist.requires_grad:
        dist.register_hook(lambda slope: slope.clamp(-_CLIP, _CLIP))
    near, far = dist[:, 0].square(), dist[:, 1:].square()
    return near.log1p().sum() + gamma * (far.log1p() - far.clamp_min(torch.finfo(far.dtype).tiny).log()).sum()


class _Sampler:
    """Draws numbers in proportion to weights."""

    def __init__(self, weights: Float[Tensor, " n"], generator: torch.Generator) -> None:
        self.ends = weights.double().cumsum(0)
        self.generator = generator

    def __call__(self, *shape: int) -> Int[Tensor, "*b"]:
        draws = torch.rand(shape, generator=self.generator, dtype=torch.float64) * self.ends[-1]
        return torch.searchsorted(self.ends, draws, right=True).clamp_max(len(self.ends) - 1)
