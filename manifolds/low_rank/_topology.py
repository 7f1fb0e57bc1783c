"""Trees over the modes of a tensor, as lists of nodes."""

import math
from collections.abc import Sequence
from typing import Any

from isometry.manifolds.errors import ShapeError

Tree = Sequence[Any]  # of modes (integers) and trees


def balanced_tree(d: int) -> Tree:
    """Return the binary tree that halves the modes until single ones, each with a basis of its own."""

    def half(modes: Sequence[int]) -> Tree:
        if len(modes) == 1:
            return (modes[0],)
        middle = (len(modes) + 1) // 2
        return (half(modes[:middle]), half(modes[middle:]))

    return half(range(d))


def nested(kind: type, tree: Tree) -> Any:
    """Return the tree as tuples or as lists."""
    return kind(child if isinstance(child, int) else nested(kind, child) for child in tree)


class Topology:
    """The nodes of a tree, children before parents, the root last.

    Args:
        shape: The sizes of the modes.
        tree: A sequence whose members are modes and trees.

    Raises:
        ShapeError: The root has less than two legs, there is no subtree, or not each mode occurs once.
    """

    def __init__(self, shape: Sequence[int], tree: Tree) -> None:
        self.shape = tuple(shape)
        self.tree: tuple[Any, ...] = nested(tuple, tree)
        self.legs: list[tuple[int, ...]] = []  # of each node: a mode, or the number of modes + the index of a node
        self.below: list[list[int]] = []  # the modes below each node, in the order of the tree
        d = len(self.shape)
        self._add(self.tree)
        if len(self.tree) < 2 or len(self.legs) < 2 or sorted(self.below[-1]) != list(range(d)):
            raise ShapeError(
                f"TreeTensorNetwork: expected a root with two legs or more, a subtree, and each of the {d} modes once, "
                f"but got {self.tree}."
            )
        self.entries = [math.prod(self.shape[k] for k in modes) for modes in self.below]
        children = self.children(len(self.legs) - 1)
        both = len(self.legs[-1]) == len(children) == 2
        self.twin = {children[1][1]: children[0][1]} if both else {}  # two edges with one matricization

    def _add(self, tree: Tree) -> int:
        """Append the nodes of a tree, children first, and return the leg to its root."""
        d = len(self.shape)
        if len(tree) == 0 or any(isinstance(child, int) and not 0 <= child < d for child in tree):
            raise ShapeError(f"TreeTensorNetwork: expected nodes with legs, modes 0 to {d - 1}, but got {self.tree}.")
        legs = tuple(child if isinstance(child, int) else self._add(child) for child in tree)
        self.legs.append(legs)
        self.below.append([k for leg in legs for k in (self.below[leg - d] if leg >= d else [leg])])
        return d + len(self.legs) - 1

    def children(self, k: int) -> list[tuple[int, int]]:
        """Return the legs of node k that lead to nodes, each with its node."""
        d = len(self.shape)
        return [(j, leg - d) for j, leg in enumerate(self.legs[k]) if leg >= d]

    def sizes(self, k: int, of_nodes: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes of the legs of node k to its children, those that lead to nodes as given."""
        d = len(self.shape)
        return tuple(of_nodes[leg - d] if leg >= d else self.shape[leg] for leg in self.legs[k])
