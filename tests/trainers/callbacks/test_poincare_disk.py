from functools import partial

import pytest
import torch
from matplotlib.figure import Figure
from pytorch_lightning.loggers.logger import DummyLogger

from isometry.manifolds import PoincareBall, ShapeError
from isometry.models import NodeEmbedding
from isometry.trainers import GraphEmbedding
from isometry.trainers.callbacks import PoincareDisk
from isometry.trainers.data import Graph, GraphDataModule
from isometry.trainers.losses import RankingLoss
from isometry.trainers.optim import RiemannianSGD
from tests.trainers.callbacks.toy import Toy, trainer

TREE = Graph(torch.tensor([(i, (i - 1) // 3) for i in range(1, 40)]), 40).transitive_closure()


def task(dim: int = 2) -> GraphEmbedding:
    return GraphEmbedding(NodeEmbedding(40, PoincareBall(dim)), RankingLoss(), partial(RiemannianSGD, lr=0.1))


class TensorBoard(DummyLogger):
    """A logger whose experiment takes figures."""

    def __init__(self) -> None:
        super().__init__()
        self.figures: list[tuple[str, Figure, int]] = []

    @property
    def experiment(self):
        return self

    def add_figure(self, tag: str, figure: Figure, step: int) -> None:
        self.figures.append((tag, figure, step))


class WeightsAndBiases(DummyLogger):
    """A logger that takes the paths of images."""

    experiment = None

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[str, list[str], int]] = []

    def log_image(self, key: str, images: list[str], step: int) -> None:
        self.images.append((key, images, step))


def test_pictures_are_saved_and_logged(tmp_path):
    board, biases = TensorBoard(), WeightsAndBiases()
    run = trainer(tmp_path, PoincareDisk(every_n_epochs=2), logger=[board, biases], limit_val_batches=0)
    run.fit(task(), GraphDataModule(TREE, batch_size=20, num_negatives=4))
    assert {file.name for file in tmp_path.rglob("*.png")} == {"poincare_disk.png", "poincare_disk_epoch=1.png"}
    assert [(tag, step) for tag, _, step in board.figures] == [
        ("poincare_disk", run.global_step * 2 // 3),
        ("poincare_disk", run.global_step),
    ]
    assert [image for _, (image,), _ in biases.images] == [
        str(next(tmp_path.rglob(name))) for name in ("poincare_disk_epoch=1.png", "poincare_disk.png")
    ]
    assert "0" in [text.get_text() for text in board.figures[-1][1].axes[0].texts]  # the top of the tree


def test_what_cannot_be_drawn_is_refused_before_training(tmp_path):
    run = partial(trainer, tmp_path, PoincareDisk())
    with pytest.raises(ShapeError, match=r"PoincareBall\(2\), but got PoincareBall\(.*3"):
        run().fit(task(dim=3), GraphDataModule(TREE))
    with pytest.raises(ShapeError, match="but got None"):
        run().fit(Toy(), torch.arange(4))
    with pytest.raises(ValueError, match="without cycles"):
        run().fit(task(), GraphDataModule(TREE.symmetric()))
