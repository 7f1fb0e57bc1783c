import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from isometry.trainers.data import MNIST10k

REAL = Path(os.environ.get("ISOMETRY_MNIST", "mnist_t10k"))
IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"


def write(path: Path, values: np.ndarray, magic: bytes) -> None:
    header = magic + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes(), compresslevel=1))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Image i has the bytes of i in its first pixels."""
    folder, i = tmp_path_factory.mktemp("mnist"), np.arange(10000)
    images = np.zeros((10000, 28, 28))
    images[:, 0, 0], images[:, 0, 1], images[:, 5, 7] = i // 256, i % 256, 255
    write(folder / IMAGES, images, b"\0\0\x08\x03")
    write(folder / LABELS, i % 10, b"\0\0\x08\x01")
    return folder


def test_each_half_is_cut_in_order(files: Path) -> None:
    for part, (begin, end) in (("train", (0, 3500)), ("val", (3500, 4000)), ("test", (4000, 5000))):
        rows = torch.cat([torch.arange(begin, end), torch.arange(5000 + begin, 5000 + end)])
        images, labels = MNIST10k(files).parts[part]
        number = (images[:, 0, 0, :2] * 255).round().long()
        assert torch.equal(number[:, 0] * 256 + number[:, 1], rows)
        assert torch.equal(labels, rows % 10)
        assert images.shape == (len(rows), 1, 28, 28)
        assert images.max() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-9], "but it does not decompress"),
        (lambda content: b"no gzip", "but it does not decompress"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-1]), "but got 10007 bytes that begin with 00000801"),
        (lambda content: gzip.compress(b"\0\0\x08\x03" + gzip.decompress(content)[4:]), "begin with 00000803"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, files: Path, change: object, message: str) -> None:
    (tmp_path / IMAGES).symlink_to(files / IMAGES)
    (tmp_path / LABELS).write_bytes(change((files / LABELS).read_bytes()))  # type: ignore[operator]
    with pytest.raises(ValueError, match=rf"{LABELS}: expected a file of MNIST.* \[10000\].*{message}"):
        MNIST10k(tmp_path).setup("fit")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"{IMAGES}: no such file; .*github\.com/mnhng/CoPA"):
        MNIST10k(tmp_path).setup("fit")


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no MNIST in {REAL}: set ISOMETRY_MNIST to the folder of {IMAGES}")
def test_the_first_digits_are_the_published_ones() -> None:
    _, labels = MNIST10k(REAL).parts["train"]
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
