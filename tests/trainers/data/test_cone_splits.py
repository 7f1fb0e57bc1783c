import os
from pathlib import Path

import numpy as np
import pytest
import torch

from isometry.trainers.data import ConeSplits, wordnet_mammals

REAL = Path(os.environ.get("ISOMETRY_CONES", "entailment_cones"))


def arrays() -> dict[str, np.ndarray]:
    pairs = {"train_0percent": [[0, 1], [1, 2]], "train_10percent": [[0, 1], [1, 2], [0, 2]], "valid": [[0, 2]]}
    wrong = {"valid_neg": [[0, 3], [2, 0]], "test": [[1, 3]], "test_neg": [[3, 1]]}
    made = {name: np.array(value, dtype=np.int32) for name, value in (pairs | wrong).items()}
    return made | {"vocab": np.array(["mammal", "dog", "poodle", "fish"])}


def write(folder: Path, **change: np.ndarray) -> Path:
    path = folder / "splits.npz"
    np.savez(path, **(arrays() | change))
    return path


def test_pairs_are_turned_to_child_and_parent(tmp_path: Path) -> None:
    splits = ConeSplits(write(tmp_path))
    assert splits.train.names == ("mammal", "dog", "poodle", "fish")
    assert splits.train.edges.tolist() == [[1, 0], [2, 1]]
    assert [part.tolist() for part in splits.pairs("valid")] == [[[2, 0]], [[3, 0], [0, 2]]]
    assert [part.tolist() for part in splits.pairs("test")] == [[[3, 1]], [[1, 3]]]
    assert len(ConeSplits(write(tmp_path), percent=10).train.edges) == 3


def test_bad_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.npz: no such file; .*github\.com/dalab/hyperbolic_cones"):
        ConeSplits(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"\['train_25percent'\] is not in"):
        ConeSplits(write(tmp_path), percent=25)
    with pytest.raises(
        ValueError, match=r"expected valid of pairs \[E, 2\] of numbers 0 to 3, but got \[1, 2\] from 0 to 4"
    ):
        ConeSplits(write(tmp_path, valid=np.array([[0, 4]])))


@pytest.mark.skipif(not (REAL / "mammal_splits.npz").exists(), reason="ISOMETRY_CONES: the folder of mammal_splits.npz")
def test_the_pairs_of_mammals_are_in_wordnets_closure() -> None:
    splits = ConeSplits(REAL / "mammal_splits.npz", percent=25)
    mammals = wordnet_mammals()
    known = {tuple(mammals.names[i] for i in edge) for edge in mammals.edges.tolist()}
    right, wrong = splits.pairs("test")
    assert (len(right), len(wrong)) == (209, 2090)
    for edges, expected in ((splits.train.edges, True), (right, True), (wrong, False)):
        inside = [tuple(splits.train.names[i] for i in edge) in known for edge in edges.tolist()]
        assert all(inside) if expected else not any(inside)
    assert not {tuple(e) for e in torch.cat([right, wrong]).tolist()} & {tuple(e) for e in splits.train.edges.tolist()}
