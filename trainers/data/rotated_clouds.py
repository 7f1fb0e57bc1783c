"""Point clouds of synthetic shapes, each seen twice, in two orientations."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from isometry.manifolds import SpecialOrthogonal
from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.data.tensor_data import TensorDataModule

_WAVES = 2


class RotatedClouds(TensorDataModule):
    r"""Pairs of point clouds, ``y = R x`` up to starts and noise: inputs x, y ``[b, n, 3]`` and R, and the class.

    A class is a closed curve, a random sum of two waves; a thing of the class is the curve with each coefficient off by
    a tenth, and a view of it are points at equal steps along the parameter from a random start, with noise, turned by a
    uniform rotation. No curve has a symmetry. Everything follows from the seed. The things of the three parts differ,
    the classes are the same.

    Args:
        counts: Pairs to train, validate and test on.
        points: n, points of a view.
        num_classes: Number of curves.
        noise: Deviation of points from the curve, whose mean radius is 1.
        batch_size: Pairs of a batch, over all processes together.
        seed: Of the curves, the views and the order in training.
    """

    def __init__(
        self,
        counts: tuple[int, int, int] = (8000, 1000, 1000),
        points: int = 32,
        num_classes: int = 10,
        noise: float = 0.02,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        self.counts, self.points, self.noise = counts, points, noise
        self._num_classes = num_classes

    @property
    def num_classes(self) -> int:
        """Number of curves."""
        return self._num_classes

    def read(self) -> tuple[Samples, Mapping[str, slice | Tensor]]:
        """Return the views, the rotation from the first to the second one, and the class of each pair."""
        generator = torch.Generator().manual_seed(self.seed)
        total = sum(self.counts)
        curves = torch.randn(self.num_classes, 3, 2 * _WAVES, generator=generator)
        labels = torch.randint(self.num_classes, (total,), generator=generator)
        things = curves[labels] * (1 + 0.1 * torch.randn(total, 3, 2 * _WAVES, generator=generator))
        things = things / things.flatten(1).norm(dim=1).view(-1, 1, 1) * math.sqrt(2)
        first, second = (SpecialOrthogonal(3).random(total, 3, 3, generator=generator) for _ in range(2))
        x, y = (self._view(things, rotation, generator) for rotation in (first, second))
        stops = torch.tensor([0, *self.counts]).cumsum(0).tolist()
        parts = {part: slice(*stops[i : i + 2]) for i, part in enumerate(("train", "val", "test"))}
        return (x, y, second @ first.mT, labels), parts

    def _view(self, things: Tensor, rotation: Tensor, generator: torch.Generator) -> Tensor:
        """Return points of the curves, turned."""
        start = torch.rand(len(things), 1, 1, generator=generator)
        angle = 2 * math.pi * (start + torch.arange(self.points).unsqueeze(-1) / self.points)
        angle = angle * torch.arange(1, _WAVES + 1)
        waves = torch.cat([angle.cos(), angle.sin()], -1)
        points = waves @ things.mT
        return (points + self.noise * torch.randn(points.shape, generator=generator)) @ rotation.mT
