import os
from pathlib import Path

import numpy as np
import pytest
import torch

from isometry.trainers.data import HDM05, covariances

REAL = Path(os.environ.get("ISOMETRY_HDM05", "hdm05_11"))
SUBJECTS = np.array(["bd", "bd", "bk", "dg", "mm", "mm"])
LABELS = np.array([0, 3, 10, 0, 3, 7])
LENGTHS = np.array([5, 2, 9, 4, 3, 6])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    frames = generator.normal(size=(LENGTHS.sum(), 31, 3)).astype(np.float32)
    cov = np.arange(6, dtype=np.float32)[:, None, None] + np.eye(93, dtype=np.float32)
    np.savez(tmp_path / "cov93.npz", cov=cov, y=LABELS, subject=SUBJECTS)
    np.savez(tmp_path / "joints_30hz.npz", frames=frames, lengths=LENGTHS, y=LABELS, subject=SUBJECTS)
    return tmp_path


@pytest.mark.parametrize(
    ("validation_subject", "train", "val"), [(None, [0, 1, 2, 3], []), ("bd", [2, 3], [0, 1]), ("dg", [0, 1, 2], [3])]
)
def test_it_is_split_by_persons(folder: Path, validation_subject: str | None, train: list[int], val: list[int]) -> None:
    data = HDM05(folder, validation_subject=validation_subject)
    for part, rows in (("train", train), ("val", val), ("test", [4, 5])):
        cov, labels = data.parts[part]
        assert cov.shape == (len(rows), 93, 93)
        assert cov[:, 0, 1].tolist() == rows
        assert labels.tolist() == LABELS[rows].tolist()


def test_sequences_are_padded_coordinates_in_time(folder: Path) -> None:
    x, lengths, labels = HDM05(folder, "sequences").parts["test"]
    frames = np.load(folder / "joints_30hz.npz")["frames"]
    assert x.shape == (2, 93, 9)
    assert lengths.tolist() == [3, 6]
    assert labels.tolist() == [3, 7]
    assert x[0, 5, 2] == frames[20 + 2, 1, 2]  # the sixth coordinate is z of the second joint
    assert not x[0, :, 3:].any()
    assert not x[1, :, 6:].any()


def test_what_is_wrong_is_told(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a validation_subject of .* but got 'mm'"):
        HDM05(folder, validation_subject="mm")
    with pytest.raises(FileNotFoundError, match=r"cov93\.npz: no such file; .*zhangchi8620/JointLearning-HDM05"):
        HDM05(folder / "elsewhere").setup("fit")
    arrays = dict(np.load(folder / "joints_30hz.npz"))
    np.savez(folder / "joints_30hz.npz", **{**arrays, "lengths": LENGTHS + 1})
    with pytest.raises(ValueError, match="expected frames of the lengths' sum 35, but got 29"):
        HDM05(folder, "sequences").setup("fit")
    np.savez(folder / "joints_30hz.npz", **{**arrays, "subject": np.array(["bd"] * 5 + ["tr"])})
    with pytest.raises(ValueError, match=r"expected the subjects .* but got \['tr'\]"):
        HDM05(folder, "sequences").setup("fit")


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no HDM05 in {REAL}: set ISOMETRY_HDM05 to the folder of cov93.npz")
def test_both_files_are_of_the_same_motions() -> None:
    """The covariances are of the full rate, so that they agree within the error of a lower rate."""
    pooled, labels = HDM05(REAL).parts["train"]
    x, lengths, sequence_labels = HDM05(REAL, "sequences").parts["train"]
    assert len(labels) == 188
    assert torch.equal(labels, sequence_labels)
    sequences = [sequence[:, :length] for sequence, length in zip(x, lengths, strict=True)]
    own = covariances([x.double() for x in sequences], shrinkage=1e-3)
    error = (own - pooled).flatten(1).norm(dim=1) / pooled.flatten(1).norm(dim=1)
    assert error.median() < 0.03
    assert error.max() < 0.2
