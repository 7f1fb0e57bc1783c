import os
from pathlib import Path

import pytest
import torch

from isometry.trainers.data import Burgers, Darcy

REAL = Path(os.environ.get("ISOMETRY_PDE", "pde"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, count in (("train", 10), ("test", 4)):
        x, y = torch.rand(count, 16, 16) > 0.5, torch.randn(count, 16, 16)
        torch.save({"x": x, "y": y}, tmp_path / f"darcy_{part}_16.pt")
    y = torch.randn(12, 17, 16, dtype=torch.float64)
    torch.save({"x": y[:, 0], "y": y, "visc": torch.ones(1, 1)}, tmp_path / "burgers_train_16.pt")
    return tmp_path


def test_darcy(folder: Path) -> None:
    data = Darcy(folder, val_size=3, batch_size=5)
    files = {part: torch.load(folder / f"darcy_{part}_16.pt") for part in ("train", "test")}
    for part, name, rows in (("train", "train", slice(7)), ("val", "train", slice(7, 10)), ("test", "test", slice(4))):
        x, y = data.parts[part]
        assert x.dtype == y.dtype == torch.float32
        assert torch.equal(x[:, 0], files[name]["x"][rows].float())
        assert torch.equal(y[:, 0], files[name]["y"][rows])
    assert sorted(len(x) for x, _ in data.train_dataloader()) == [2, 5]
    assert [len(x) for x, _ in data.val_dataloader()] == [3]
    assert [len(x) for x, _ in data.test_dataloader()] == [4]
    assert Darcy(folder).val_dataloader() == []


def test_burgers(folder: Path) -> None:
    data = Burgers(folder, test_size=4, val_size=2)
    y = torch.load(folder / "burgers_train_16.pt")["y"].float()
    for part, rows in (("train", slice(6)), ("val", slice(6, 8)), ("test", slice(8, 12))):
        inputs, targets = data.parts[part]
        assert torch.equal(inputs[:, 0], y[rows, 0])
        assert torch.equal(targets[:, 0], y[rows, 16])


def test_what_is_wrong_is_told(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"darcy_train_16\.pt: no such file; .*x \[n, 16, 16\].*neuraloperator"):
        Darcy(folder / "elsewhere").setup("fit")
    for size in (0, 12):
        with pytest.raises(ValueError, match=f"expected a test_size from 1 to 11, but got {size}"):
            Burgers(folder, test_size=size).setup("fit")
    with pytest.raises(ValueError, match="expected a val_size from 0 to 9, but got 10"):
        Darcy(folder, val_size=10).setup("fit")
    path = folder / "darcy_test_16.pt"
    whole = torch.load(path)
    for content, message in (
        ({"x": whole["x"]}, "but y is missing"),
        ({**whole, "y": whole["y"][:, :8]}, r"but y is \[4, 8, 16\]"),
        ([1, 2], "but x is missing"),
    ):
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            Darcy(folder).setup("fit")
    path.write_bytes(b"PK\x03\x04 not a file")
    with pytest.raises(ValueError, match="this is no complete file of tensors"):
        Darcy(folder).setup("fit")
    whole["y"][0, 0, 0] = torch.nan
    torch.save(whole, path)
    with pytest.raises(ValueError, match="some of the part 'test' are NaN"):
        Darcy(folder).setup("fit")


@pytest.mark.skipif(not REAL.is_dir(), reason="set ISOMETRY_PDE to the folder of the files")
def test_the_files() -> None:
    data, wave = Darcy(REAL), Burgers(REAL)
    assert [len(data.parts[part][0]) for part in ("train", "val", "test")] == [1000, 0, 50]
    assert [len(wave.parts[part][0]) for part in ("train", "val", "test")] == [600, 0, 200]
    x, y = wave.parts["train"]
    assert y.square().mean() < x.square().mean()  # viscosity
    assert torch.allclose(x.mean(-1), y.mean(-1), atol=1e-3)  # the mean is conserved
