from pathlib import Path

import numpy as np
import pytest

from isometry.trainers.data.archive import read_arrays

SHAPES = {"x": (None, 3), "y": (None,)}


def test_named_arrays_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((4, 3)), y=np.arange(4), z=np.ones(1))
    arrays = read_arrays(tmp_path / "a.npz", SHAPES, "from here")
    assert arrays.keys() == {"x", "y"}
    assert np.array_equal(arrays["y"], np.arange(4))


def test_what_is_wrong_is_told_with_what_was_expected(tmp_path: Path) -> None:
    path, expected = tmp_path / "a.npz", r"a numpy archive of x \[n, 3\], y \[n\]: from here"
    with pytest.raises(FileNotFoundError, match=rf"a\.npz: no such file; expected {expected}"):
        read_arrays(path, SHAPES, "from here")
    np.savez(path, x=np.ones((4, 3)))
    whole = path.read_bytes()
    with pytest.raises(ValueError, match=rf"expected {expected}; but it has x\."):
        read_arrays(path, SHAPES, "from here")
    path.write_bytes(whole[:-30])
    with pytest.raises(ValueError, match=rf"expected {expected}; but this is no complete archive"):
        read_arrays(path, SHAPES, "from here")
    for x in (np.ones((4, 2)), np.ones(4)):
        np.savez(path, x=x, y=np.arange(4))
        with pytest.raises(ValueError, match=rf"expected {expected}; but x is \[4"):
            read_arrays(path, SHAPES, "from here")
