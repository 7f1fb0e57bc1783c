"""Trees to test with, and hyperbolic space in as many bits as it takes."""

from collections.abc import Sequence
from typing import Any

import mpmath
import torch
from torch import Tensor

from isometry.models.constructions import SarkarEmbedding, Tree, coordinate_bits

DISK_BITS = 600


def random_tree(num_nodes: int, seed: int = 0, weighted: bool = True, root: int = 0) -> Tree:
    generator = torch.Generator().manual_seed(seed)
    parents = [int(torch.randint(max(0, i - 6), i, (), generator=generator)) for i in range(1, num_nodes)]
    edges = torch.stack([torch.arange(1, num_nodes), torch.tensor(parents)], 1)
    weights = 0.5 + torch.rand(num_nodes - 1, generator=generator, dtype=torch.float64) if weighted else None
    return Tree(edges, num_nodes, weights, root)


def tree_distances(tree: Tree) -> Tensor:
    """The sums of the lengths on the ways between all nodes, by Floyd and Warshall."""
    n = tree.num_nodes
    result = torch.full((n, n), torch.inf, dtype=torch.float64)
    child, parent = tree.order[1:], tree.order[tree.parent[1:]]
    result[child, parent] = result[parent, child] = tree.length[1:]
    result.fill_diagonal_(0)
    for k in range(n):
        result = torch.minimum(result, result[:, k : k + 1] + result[k])
    return result


def lorentz_distances(embedding: SarkarEmbedding, pairs: Sequence[tuple[int, int]]) -> list[float]:
    """Distances of nodes whose isometries are products of boosts along the given directions."""
    tree, dim = embedding.tree, embedding.manifold.dim
    # products of cosh(radius) cancel to those of 1
    with mpmath.workprec(200 + coordinate_bits(2 * embedding.tau * tree.height)):
        isometries: list[Any] = [mpmath.eye(dim + 1)]
        for place in range(1, tree.num_nodes):
            e = mpmath.matrix([mpmath.mpf(v) for v in embedding.directions[:, place].tolist()])
            e /= mpmath.norm(e)
            b = mpmath.mpf(embedding.tau * float(tree.length[place]))
            boost = mpmath.eye(dim + 1)
            boost[0, 0] = mpmath.cosh(b)
            for i in range(dim):
                boost[0, i + 1] = boost[i + 1, 0] = mpmath.sinh(b) * e[i]
                for j in range(dim):
                    boost[i + 1, j + 1] += (mpmath.cosh(b) - 1) * e[i] * e[j]
            isometries.append(isometries[int(tree.parent[place])] * boost)
        place_of = tree.place.tolist()
        points = [isometries[place_of[node]][:, 0] for node in range(tree.num_nodes)]
        values = []
        for u, v in pairs:
            x, y = points[u], points[v]
            values.append(mpmath.acosh(x[0] * y[0] - mpmath.fsum(x[i] * y[i] for i in range(1, dim + 1))))
        return [float(value / embedding.tau) for value in values]


def published_construction(tree: Tree, tau: float) -> list[Any]:
    """Points of the disk by place: Sarkar's construction by inversions, as published."""
    children: dict[int, list[int]] = {}
    for place, parent in enumerate(tree.parent.tolist()):
        if place:
            children.setdefault(parent, []).append(place)
    points: list[Any] = [mpmath.mpc(0)] * tree.num_nodes

    def radius(place: int) -> Any:
        return mpmath.tanh(mpmath.mpf(tau * float(tree.length[place])) / 2)

    for k, child in enumerate(children.get(0, [])):
        points[child] = radius(child) * mpmath.expjpi(mpmath.mpf(2 * k) / len(children[0]))
    for place in range(1, tree.num_nodes):
        centre = 1 / mpmath.conj(points[place])
        power = abs(centre) ** 2 - 1

        def invert(y: Any, centre: Any = centre, power: Any = power) -> Any:
            return centre + power / mpmath.conj(y - centre)

        back = invert(points[int(tree.parent[place])])
        own = children.get(place, [])
        for k, child in enumerate(own, 1):
            turn = mpmath.expjpi(mpmath.mpf(2 * k) / (len(own) + 1))
            points[child] = invert(radius(child) * turn * back / abs(back))
    return points


def disk_distance(x: Any, y: Any) -> Any:
    q = abs(x - y) ** 2 / ((1 - abs(x) ** 2) * (1 - abs(y) ** 2))
    return 2 * mpmath.asinh(mpmath.sqrt(q))
