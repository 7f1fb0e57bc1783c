"""The picture of a hyperbolic embedding, drawn during and after training."""

from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer

from isometry.manifolds import PoincareBall, ShapeError
from isometry.models import NodeEmbedding
from isometry.trainers.callbacks._figure import publish
from isometry.trainers.data import Graph
from isometry.trainers.plots import plot_poincare_disk


class PoincareDisk(Callback):
    """Draw a ``NodeEmbedding`` on ``PoincareBall(2)`` with its hierarchy, and save and log the picture.

    It is saved as ``poincare_disk.png`` in the logger's folder (else the trainer's), and goes to every logger that
    takes pictures (TensorBoard, Weights & Biases). Edges and names are those of the data module's ``graph``.

    Args:
        every_n_epochs: Draw at the end of every so many epochs, too (``poincare_disk_epoch=19.png``).
        num_labels: Label at most so many nodes.

    Raises:
        ShapeError: The module has no embedding in the hyperbolic plane.
        ValueError: The graph has a cycle.
    """

    def __init__(self, every_n_epochs: int | None = None, num_labels: int = 80) -> None:
        self.every_n_epochs = every_n_epochs
        self.num_labels = num_labels

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what cannot be drawn, before it is trained."""
        self._embedding(pl_module)
        if stage == "fit" and (graph := self._graph(trainer)) is not None:
            graph.transitive_closure()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw if this epoch is one of those asked for."""
        epoch = trainer.current_epoch
        if self.every_n_epochs and (epoch + 1) % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, f"poincare_disk_epoch={epoch}.png")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the result."""
        self._draw(trainer, pl_module, "poincare_disk.png")

    def _draw(self, trainer: Trainer, pl_module: LightningModule, filename: str) -> None:
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # log_dir is a collective operation
        if not trainer.is_global_zero:
            return
        model, manifold = self._embedding(pl_module)
        graph = self._graph(trainer)
        figure = plot_poincare_disk(model.nodes.weight, graph, manifold=manifold, num_labels=self.num_labels)
        publish(trainer, folder, figure, "poincare_disk", filename)

    @staticmethod
    def _graph(trainer: Trainer) -> Graph | None:
        return getattr(getattr(trainer, "datamodule", None), "graph", None)

    @staticmethod
    def _embedding(pl_module: LightningModule) -> tuple[NodeEmbedding, PoincareBall]:
        model = getattr(pl_module, "model", None)
        if (
            not isinstance(model, NodeEmbedding)
            or not isinstance(model.manifold, PoincareBall)
            or model.manifold.dim != 2
        ):
            raise ShapeError(
                "PoincareDisk: expected a module whose `model` is a NodeEmbedding on PoincareBall(2), "
                f"but got {getattr(model, 'manifold', model)!r}. Embed in 2 dimensions, or leave the callback out."
            )
        return model, model.manifold
