"""The ten thousand test digits of MNIST."""

import gzip
import math
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from isometry.trainers.data.edge_list import existing_file
from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.data.tensor_data import TensorDataModule

_SOURCE = "a file of MNIST's test part, from github.com/mnhng/CoPA or any copy of MNIST"


class MNIST10k(TensorDataModule):
    """The 10,000 images of MNIST's test part, inputs ``[b, 1, 28, 28]`` in [0, 1]: a small set of its own.

    8,000 are to train, 1,000 of them to validate, and 2,000 to test. The first half of the file is cleaner than the
    second, and a person's digits follow each other; so each half is cut in order, into 3,500, 500 and 1,000. Results
    do not compare with those of the 60,000 training images.

    Args:
        folder: Of ``t10k-images-idx3-ubyte.gz`` and ``t10k-labels-idx1-ubyte.gz``.
        batch_size: Samples of a batch, over all processes together.
        seed: Of the order in training.

    Source: LeCun et al. 1998.
    """

    num_classes = 10

    def __init__(self, folder: str | os.PathLike[str], batch_size: int = 64, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        self.folder = Path(folder)

    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        """Return images and digits."""
        images = _read_idx(self.folder / "t10k-images-idx3-ubyte.gz", (10000, 28, 28))
        digits = _read_idx(self.folder / "t10k-labels-idx1-ubyte.gz", (10000,))
        place = torch.arange(10000) % 5000
        rows = {"train": place < 3500, "val": (place >= 3500) & (place < 4000), "test": place >= 4000}
        return (images.unsqueeze(1).float() / 255, digits.long()), rows


def _read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Return the unsigned bytes of a compressed file: 0, 0, type 8, number of sizes, the sizes, the values."""
    expected = f"{_SOURCE}, with unsigned bytes {list(shape)}"
    try:
        content = gzip.decompress(existing_file(path, expected).read_bytes())
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path}: expected {expected}; but it does not decompress: {error}") from error
    header = b"".join(size.to_bytes(4, "big") for size in (0x800 + len(shape), *shape))
    if not content.startswith(header) or len(content) != len(header) + math.prod(shape):
        raise ValueError(
            f"{path}: expected {expected}; but got {len(content)} bytes that begin with {content[: len(header)].hex()}."
        )
    return torch.frombuffer(bytearray(content[len(header) :]), dtype=torch.uint8).view(shape)
