"""Centroids of a tree, and of what remains without them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Separation(NamedTuple):
    """Groups of nodes, and how far each member is from the centroid through which the group's paths lead.

    ``sum_g sign_g [i, j in g] f(d_g(i) + d_g(j)) = f(d(i, j))`` for all nodes i and j: a part of the tree adds all its
    pairs, and its branches at the centroid, whose paths do not lead through it, take theirs away.
    """

    node: Tensor  # [M]
    group: Tensor  # [M]
    distance: Tensor  # [M], float64
    sign: Tensor  # [G], 1 or -1


def separate(edges: Sequence[tuple[int, int]], weights: Sequence[float], num_nodes: int) -> Separation:
    """Return the groups of a tree: at most ``2 n (log2 n + 1)`` members in all.

    Raises:
        ValueError: If the edges are no tree of the nodes.
    """
    neighbours: list[list[tuple[int, float]]] = [[] for _ in range(num_nodes)]
    for (a, b), weight in zip(edges, weights, strict=True):
        if not (0 <= a < num_nodes and 0 <= b < num_nodes):
            raise ValueError(f"expected nodes 0 to {num_nodes - 1}, but an edge joins {a} and {b}.")
        neighbours[a].append((b, weight))
        neighbours[b].append((a, weight))
    if len(edges) != num_nodes - 1 or len(_walk(neighbours, 0, set())) != num_nodes:
        raise ValueError(f"expected a tree, whose n - 1 edges join all {num_nodes} nodes, but got {len(edges)} edges.")
    removed: set[int] = set()
    members: list[tuple[int, int, float]] = []
    signs: list[int] = []

    def add(part: list[tuple[int, int, float]], sign: int) -> None:
        members.extend((node, len(signs), distance) for node, _, distance in part)
        signs.append(sign)

    parts = [0]
    while parts:
        centre = _centroid(_walk(neighbours, parts.pop(), removed))
        removed.add(centre)
        branches = [_walk(neighbours, b, removed, weight) for b, weight in neighbours[centre] if b not in removed]
        add([(centre, -1, 0.0), *(member for branch in branches for member in branch)], 1)
        for branch in branches:
            add(branch, -1)
            parts.append(branch[0][0])
    node, group, distance = zip(*members, strict=True)
    return Separation(
        torch.tensor(node), torch.tensor(group), torch.tensor(distance, dtype=torch.float64), torch.tensor(signs)
    )


def _walk(
    neighbours: list[list[tuple[int, float]]], start: int, removed: set[int], distance: float = 0.0
) -> list[tuple[int, int, float]]:
    """Return the nodes that ``start`` reaches, parents first, each with its parent's place and its distance."""
    found, seen = [(start, -1, distance)], {start}
    for place, (node, _, so_far) in enumerate(found):
        for other, weight in neighbours[node]:
            if other not in removed and other not in seen:
                seen.add(other)
                found.append((other, place, so_far + weight))
    return found


def _centroid(part: list[tuple[int, int, float]]) -> int:
    """Return the node without which no part has more than half of the nodes."""
    sizes, largest = [1] * len(part), [0] * len(part)
    for place in range(len(part) - 1, 0, -1):
        parent = part[place][1]
        sizes[parent] += sizes[place]
        largest[parent] = max(largest[parent], sizes[place])
    balance = [max(below, len(part) - size) for below, size in zip(largest, sizes, strict=True)]
    return part[balance.index(min(balance))][0]
