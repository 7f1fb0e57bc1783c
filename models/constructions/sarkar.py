"""Trees in hyperbolic space with as little distortion as asked for, without optimisation."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isometry.manifolds import PoincareBall
from isometry.models.constructions.directions import least_angle, separated_directions
from isometry.models.constructions.tree import Tree

_CHUNK = 2**17  # numbers of a state that is swept at once: more do not fit the cache, fewer are mostly calls


def sarkar_embedding(
    tree: Tree, dim: int = 2, *, tau: float | None = None, distortion: float | None = None
) -> "SarkarEmbedding":
    r"""Embed a tree so that edges are geodesics of exactly their length, and leave each node in separated directions.

    Args:
        tree: The tree.
        dim: Of the hyperbolic space, at least 2.
        tau: How long an edge of length 1 is where the curvature is -1. Larger is truer.
        distortion: In place of ``tau``: choose it so that the worst-case distortion is at most ``1 + distortion``.

    Raises:
        ValueError: If not exactly one of ``tau`` and ``distortion`` is given, or a number is out of range.

    Source: Sarkar 2011; Sala, De Sa, Gu & Re 2018.
    """
    if tau is None and distortion is not None:
        shortest = float(tree.length[1:].min()) if tree.num_nodes > 1 else 1.0
        tau = sarkar_tau(max(tree.max_degree, 1), distortion, dim, shortest)
    elif tau is None or distortion is not None:
        raise ValueError(f"sarkar_embedding: expected either tau or distortion, but got {tau} and {distortion}.")
    return SarkarEmbedding(tree, dim, tau)


class SarkarEmbedding:
    r"""A tree in hyperbolic space of curvature ``-tau^2``, where its distances are about those of the tree.

    Kept are the length of each edge and its direction at the parent, in a frame that is transported along the tree from
    the root. All distances from a node v follow by a sweep outward: where a is the distance from v to u, beta the
    direction at u back to v, and e the direction of an edge of length b from u to w, at the angle psi to beta,

    .. math:: \sinh^2 \tfrac c2 = \sinh^2 \tfrac{a - b}2 + \sinh a \sinh b \sin^2 \tfrac\psi 2

    is the distance c from v to w, and at w the direction back to v has the part
    ``cosh b sinh a cos psi - cosh a sinh b`` along e and ``sinh a sin psi`` across it. The first sum does not
    cancel, and nothing saturates: distances are right to float64's last digits however far out the nodes are, where
    coordinates would need thousands of bits (see ``coordinate_bits``).

    Args:
        tree: The tree.
        dim: Of the space, at least 2.
        tau: Positive.

    Raises:
        ValueError: If ``dim`` or ``tau`` is out of range.

    Attributes:
        manifold: ``PoincareBall(dim, c=tau**2)``.
        directions: Of the edge to each node at its parent, ``[dim, n]`` by place; 0 for the root.

    Source: the law of cosines, Ratcliffe, Foundations of Hyperbolic Manifolds, section 3.5; directions as in Sala, De
    Sa, Gu & Re 2018.
    """

    def __init__(self, tree: Tree, dim: int, tau: float) -> None:
        if not 0 < tau < math.inf:
            raise ValueError(f"SarkarEmbedding: expected a positive, finite tau, but got {tau}.")
        self.tree = tree
        self.tau = tau
        self.manifold = PoincareBall(dim, c=tau**2)
        self.directions = _directions(tree, dim).T.contiguous()
        self._length = tau * tree.length
        self._gap = -torch.expm1(-self._length)  # 1 - e^-b
        self._level = torch.cat([torch.full((len(level),), i) for i, level in enumerate(tree.levels)])

    def __repr__(self) -> str:
        return f"SarkarEmbedding({self.tree.num_nodes} nodes, {self.manifold!r})"

    def distances_from(self, nodes: Int[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Return the distances from some nodes to every node, float64."""
        rows = max(1, _CHUNK // self.tree.num_nodes)
        return torch.cat([self._sweep(self.tree.place[chunk]) for chunk in nodes.split(rows)])

    def _sweep(self, source: Tensor) -> Tensor:
        a = self._length.new_zeros(len(source), self.tree.num_nodes)
        beta = self._length.new_zeros(self.manifold.dim, *a.shape)
        path = self._ascend(source)
        for number, level in enumerate(self.tree.levels):
            places = slice(level.start, level.stop)
            if number:
                parent = self.tree.parent[places]
                edge = self.directions[:, places].unsqueeze(1), self._length[places], self._gap[places]
                a[:, places], beta[:, :, places] = _next(a[:, parent], beta[:, :, parent], *edge)
            # the way from a source up to the root was gone in the other direction
            step = self._level[source] - number
            rows = (step >= 0).nonzero().squeeze(1)
            for values, known in ((a, path[1]), (beta, path[2])):
                values[..., rows, path[0][step[rows], rows]] = known[..., step[rows], rows]
        return a[:, self.tree.place] / self.tau

    def _ascend(self, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the places ``[s, b]``, distances ``[s, b]`` and directions back ``[dim, s, b]`` on the ways up."""
        place = source
        a, beta = self._length.new_zeros(len(source)), self._length.new_zeros(self.manifold.dim, len(source))
        path = [(place, a, beta)]
        while (below := place > 0).any():
            edge = -self.directions[:, place], self._length[place], self._gap[place]
            onward, back = _next(a, beta, *edge)
            a, beta, place = torch.where(below, onward, a), torch.where(below, back, beta), self.tree.parent[place]
            path.append((place, a, beta))
        places, distances, directions = zip(*path, strict=True)
        return torch.stack(places), torch.stack(distances), torch.stack(directions, 1)

    def points(self) -> Float[Tensor, "n dim"]:
        """Return the nodes as points of ``manifold``, float64, the root at the centre.

        Coordinates carry less than the sweep: nodes farther than 37.4 from the root (where the curvature is -1; see
        ``representable_tau``) end at the boundary of the format.
        """
        x = torch.zeros_like(self.directions.T)
        # [n, i, :] is the i-th vector of the orthonormal frame at a place
        frame = (torch.eye(self.manifold.dim, dtype=x.dtype) / 2).repeat(len(x), 1, 1)
        for level in self.tree.levels[1:]:
            places = slice(level.start, level.stop)
            parent = self.tree.parent[places]
            start, transported = x[parent], frame[parent]
            step = (self.tree.length[places] * self.directions[:, places]).T.unsqueeze(1) @ transported
            x[places] = self.manifold.expmap(start, step.squeeze(1))
            frame[places] = self.manifold.transp(start.unsqueeze(1), x[places].unsqueeze(1), transported)
        return x[self.tree.place]


def _next(a: Tensor, beta: Tensor, e: Tensor, b: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """Go on by an edge (see ``SarkarEmbedding``); everything is multiplied by ``4 exp(-a - b)``, so nothing overflows.

    Args:
        a: Distances from the source.
        beta: Unit directions back to it, coordinates first; any at the source itself.
        e: Unit directions of the edges.
        b: Their lengths.
        gap: ``1 - exp(-b)``.
    """
    near = -torch.expm1(-a)
    near2, gap2 = near * (2 - near), gap * (2 - gap)  # 1 - e^-2a, 1 - e^-2b
    sine2 = (e - beta).square().sum(0) / 4
    square = (near - gap).square() + near2 * gap2 * sine2
    half = (a + b) / 2
    exponent = half.clamp_max(350)  # asinh(x) = log(2x) far below the e^350 that is left out
    c = 2 * ((square.sqrt() * exponent.exp() / 2).asinh() + (half - exponent))
    across = (1 - gap) * near2
    back = across * beta - (gap2 - near2 + sine2 * (2 - gap2) * near2 + across * (1 - 2 * sine2)) * e
    return c, back / back.square().sum(0).sqrt()


def _directions(tree: Tree, dim: int) -> Tensor:
    """Return the direction of the edge to each node at its parent, ``[n, dim]`` by place."""
    children = tree.num_children
    degree = children + 1
    degree[0] -= 1
    sizes, kind = degree.unique(return_inverse=True)
    tables = [separated_directions(max(int(size), 1), dim) for size in sizes]
    table = torch.cat(tables)
    offset = torch.tensor([0, *(len(t) for t in tables[:-1])]).cumsum(0)[kind]
    rank = torch.arange(tree.num_nodes) - (children.cumsum(0) - children + 1)[tree.parent]
    result = torch.zeros(tree.num_nodes, dim, dtype=torch.float64)
    for number, level in enumerate(tree.levels[1:]):
        places = slice(level.start, level.stop)
        parent = tree.parent[places]
        own = table[offset[parent] + rank[places] + (number > 0)]
        if number:
            # the reflection that turns the first direction of the table towards the parent's parent
            mirror = table[offset[parent]] + result[parent]
            mirror = torch.nn.functional.normalize(mirror, dim=1, eps=1e-150)
            own = own - 2 * (own * mirror).sum(1, keepdim=True) * mirror
        result[places] = own / own.norm(dim=1, keepdim=True)
    return result


def sarkar_tau(max_degree: int, distortion: float, dim: int = 2, min_weight: float = 1.0) -> float:
    r"""Return a ``tau`` for which the worst-case distortion is at most ``1 + distortion``.

    With theta the least angle between the edges of a node (2 pi over the degree in the plane), every subtree stays in a
    cone of half-angle ``beta = theta/2.4``, and cones are ``alpha = theta - 2 beta`` apart:

    .. math:: \tau = \max\left(\frac{1 + \epsilon}{\epsilon}\nu,\ -2 \log\tan\frac\alpha 2\right) / w_{min}, \qquad
        \nu = -2 \log \tan \frac\beta 2

    Args:
        max_degree: The largest number of neighbours.
        distortion: epsilon, positive.
        dim: Of the space.
        min_weight: The shortest edge.

    Raises:
        ValueError: If an argument is not positive.

    Source: Sarkar 2011; Sala, De Sa, Gu & Re 2018, and its published code.
    """
    if not (max_degree >= 1 and distortion > 0 and min_weight > 0):
        raise ValueError(
            "sarkar_tau: expected max_degree >= 1, distortion > 0 and min_weight > 0, but got "
            f"{max_degree}, {distortion} and {min_weight}."
        )
    theta = least_angle(separated_directions(max(max_degree, 2), dim))
    beta = theta / 2.4
    alpha = theta - 2 * beta
    nu, least = -2 * math.log(math.tan(beta / 2)), -2 * math.log(math.tan(alpha / 2))
    return max((1 + distortion) / distortion * nu, least) / min_weight


def coordinate_bits(radius: float) -> int:
    r"""Return the bits per coordinate that distances need at a distance from the centre, ``2 radius / log 2``.

    A node at depth l has ``1 - |x| = 2 exp(-l tau)``, and distances divide by products of two such numbers.

    Args:
        radius: The largest, ``tau`` times the height of the tree.

    Source: Sala, De Sa, Gu & Re 2018.
    """
    return math.ceil(2 * radius / math.log(2))


def representable_tau(height: float, dtype: torch.dtype = torch.float64) -> float:
    r"""Return the largest ``tau`` at which all points are inside the ball in a number format.

    It is ``log((1 + r)/(1 - r))/height`` with the format's last number ``r = 1 - eps/2`` below 1: 37.4 over the height
    in float64, 17.3 in float32.

    Args:
        height: Of the tree, positive.
        dtype: The format.

    Source: Sala, De Sa, Gu & Re 2018, published code.
    """
    if not height > 0:
        raise ValueError(f"representable_tau: expected a positive height, but got {height}.")
    gap = torch.finfo(dtype).eps / 2
    return math.log((2 - gap) / gap) / height
