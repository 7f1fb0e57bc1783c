"""Negative sampling: nodes that a given node is not related to."""

import math

import torch
from jaxtyping import Int
from torch import Tensor

from isometry.trainers.data.graph import Graph

_TICKETS_PER_NODE = 64
_SLOTS_PER_EDGE = 32  # at most 3 % of the bitmap is taken, so that most questions end there
_MIX = 0x1E3779B97F4A7C15  # an odd multiplier: Fibonacci hashing


class NegativeSampler:
    r"""Draws nodes v, independently and with repetition, for which neither ``(u, v)`` is an edge nor ``v = u``.

    .. math:: P(v | u) \propto (\text{number of edges } (\cdot, v))^{power}

    A first draw is from all nodes. The few that hit a node related to u are drawn again, by inversion of the
    distribution function of the unrelated ones. The law is exact, and nothing is rejected twice, whatever the share of
    related nodes. For this, weights are whole numbers of tickets, 64 a node on average (a rounding of 1 % or so), and a
    node has at least one.

    Args:
        graph: The edges to stay away from.
        num_negatives: Number K of nodes to draw for each u.
        power: 0 draws uniformly.

    Raises:
        ValueError: If a node has edges to all others, so that it has no negatives.

    Source: Nickel & Kiela 2017, section 3; the weights are those of the published code's burn-in.
    """

    def __init__(self, graph: Graph, num_negatives: int, power: float = 0.0) -> None:
        if num_negatives < 1:
            raise ValueError(f"NegativeSampler: expected num_negatives >= 1, but got {num_negatives}.")
        n = graph.num_nodes
        tickets = _tickets(graph.edges[:, 1].bincount(minlength=n), power)
        self.num_nodes = n
        self.num_negatives = num_negatives
        self._owner = torch.arange(n, dtype=torch.int32).repeat_interleave(tickets)

        self._related = torch.cat([graph.keys, torch.arange(n) * (n + 1)]).sort().values
        self._taken = torch.zeros(1 << math.ceil(math.log2(_SLOTS_PER_EDGE * len(self._related))), dtype=torch.bool)
        self._taken[self._slot(self._related)] = True

        # Let x_0 < x_1 < ... be the nodes related to u. `gaps` has the tickets of the unrelated nodes before each x_j,
        # as a number u * total + tickets, so that one search over all of it finds j for a given u and ticket.
        u, x = self._related // n, self._related % n
        total = len(self._owner)
        self._passed = torch.cat([tickets.new_zeros(1), tickets[x].cumsum(0)])
        start = self._passed[torch.searchsorted(u, torch.arange(n + 1))]
        self._start, self._room = start[:-1], total - start.diff()
        self._gaps = u * total + (tickets.cumsum(0) - tickets)[x] - self._passed[:-1] + self._start[u]

        sources = graph.edges[:, 0]
        if (crowded := sources[self._room[sources] == 0]).numel():
            raise ValueError(
                f"NegativeSampler: node {graph.names[int(crowded[0])]!r} has edges to all other nodes, so it has no "
                "negatives; leave its edges out."
            )

    def sample(self, sources: Int[Tensor, " b"], generator: torch.Generator) -> Int[Tensor, "b k"]:
        """Return K negatives for each of the nodes ``sources``."""
        v = self._draw(len(sources) * self.num_negatives, generator)
        keys = (sources * self.num_nodes).repeat_interleave(self.num_negatives) + v
        suspects = self._taken[self._slot(keys)].nonzero().squeeze(1)
        suspect_keys = keys[suspects]
        found = torch.searchsorted(self._related, suspect_keys).clamp_(max=len(self._related) - 1)
        hits = suspects[self._related[found] == suspect_keys]
        v[hits] = self._draw_unrelated(sources[hits // self.num_negatives], generator)
        return v.view(len(sources), self.num_negatives)

    def _slot(self, keys: Tensor) -> Tensor:
        return (keys * _MIX).bitwise_right_shift_(20).bitwise_and_(len(self._taken) - 1)

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        return self._owner[torch.randint(len(self._owner), (count,), generator=generator)].long()

    def _draw_unrelated(self, u: Tensor, generator: torch.Generator) -> Tensor:
        """Draw among the nodes unrelated to each of ``u``: invert their distribution function."""
        ticket = (torch.rand(len(u), dtype=torch.float64, generator=generator) * self._room[u]).long()
        j = torch.searchsorted(self._gaps, u * len(self._owner) + ticket, right=True)
        return self._owner[ticket + self._passed[j] - self._start[u]].long()


def _tickets(counts: Tensor, power: float) -> Tensor:
    """Return whole numbers, at least 1, in proportion to ``counts ** power``."""
    if power == 0:
        return torch.ones_like(counts)
    weights = counts.double() ** power
    return (weights * (_TICKETS_PER_NODE / weights.mean())).round_().long().clamp_(min=1)
