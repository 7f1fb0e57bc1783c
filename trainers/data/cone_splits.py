"""The published splits of WordNet's hierarchies for the prediction of what entails what."""

import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from isometry.trainers.data.edge_list import existing_file
from isometry.trainers.data.graph import Graph

_WHERE = (
    "a numpy archive of vocab [n] and, as pairs of numbers (parent, child), train_0percent, valid, valid_neg, test, "
    "test_neg, ... [E, 2], made from the folder data/maxn of github.com/dalab/hyperbolic_cones"
)


class ConeSplits:
    r"""Pairs "u is a v" to train on, and pairs to validate and to test with ten wrong ones for each.

    Trained is on all direct pairs and on a share of the others, those that follow from chains of direct ones; the
    pairs to predict are others of these. Wrong ones keep one end.

    Args:
        path: Of the archive, such as ``mammal_splits.npz``.
        percent: Share of the indirect pairs in training: 0, 10 or 25; for mammals 50 and 90, too.

    Attributes:
        train: The training pairs (child, parent) as a graph, with the names of the nodes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If an array is missing, or its entries are no nodes.

    Source: Ganea, Becigneul & Hofmann 2018, Hyperbolic entailment cones, section 5; the data of its published code.
    """

    def __init__(self, path: str | os.PathLike[str], percent: int = 0) -> None:
        path = existing_file(Path(path), _WHERE)
        wanted = (f"train_{percent}percent", *(f"{part}{kind}" for part in ("valid", "test") for kind in ("", "_neg")))
        with np.load(path, allow_pickle=False) as arrays:
            if missing := {"vocab", *wanted} - set(arrays.files):
                raise ValueError(f"{path}: expected {_WHERE}; but {sorted(missing)} is not in {arrays.files}.")
            names = tuple(map(str, arrays["vocab"]))
            pairs = {name: torch.from_numpy(arrays[name].astype(np.int64)).flip(-1) for name in wanted}
        for name, edges in pairs.items():
            if edges.ndim != 2 or edges.shape[1] != 2 or not 0 <= int(edges.min()) <= int(edges.max()) < len(names):
                raise ValueError(
                    f"{path}: expected {name} of pairs [E, 2] of numbers 0 to {len(names) - 1}, but got "
                    f"{list(edges.shape)} from {edges.min()} to {edges.max()}."
                )
        self.train = Graph(pairs[wanted[0]], len(names), names)
        self._pairs = pairs

    def pairs(self, part: str) -> tuple[Int[Tensor, "p 2"], Int[Tensor, "n 2"]]:
        """Return the right and the wrong pairs (child, parent) of "valid" or "test"."""
        return self._pairs[part], self._pairs[f"{part}_neg"]
