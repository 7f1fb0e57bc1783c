from pathlib import Path

import numpy as np
import pytest
import torch

from isometry.trainers.data import MAMEM


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A subject whose sample i is all i."""
    x = np.broadcast_to(np.arange(500, dtype=np.float32)[:, None, None], (500, 8, 125))
    np.savez_compressed(tmp_path / "U002.npz", x=x, y=np.arange(500) % 5)
    return tmp_path


def test_it_is_split_in_the_order_of_recording(folder: Path) -> None:
    data = MAMEM(folder, subject=2)
    for part, rows in (("train", range(300)), ("val", range(300, 400)), ("test", range(400, 500))):
        x, labels = data.parts[part]
        assert x.shape == (len(rows), 8, 125)
        assert x.dtype == torch.float32
        assert x[:, 3, 7].tolist() == list(rows)
        assert labels.tolist() == [i % 5 for i in rows]


def test_a_missing_subject_is_told_where_it_comes_from(folder: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"U001\.npz: no such file; .*x \[500, 8, 125\].*github\.com/jjscc/GBWBN"
    ):
        MAMEM(folder, subject=1).setup("fit")


def test_another_shape_is_refused(folder: Path) -> None:
    np.savez(folder / "U003.npz", x=np.zeros((400, 8, 125)), y=np.zeros(400, dtype=int))
    with pytest.raises(ValueError, match=r"U003\.npz: expected .*x \[500, 8, 125\], .*; but x is \[400, 8, 125\]"):
        MAMEM(folder, subject=3).setup("fit")
