"""Where the pictures of callbacks go."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from pytorch_lightning import Trainer


def publish(trainer: Trainer, folder: Path, figure: Figure, name: str, filename: str) -> None:
    """Save a figure in a folder, and give it to every logger that takes pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / filename)
    for logger in trainer.loggers:
        experiment: Any = getattr(logger, "experiment", None)
        if hasattr(experiment, "add_figure"):  # TensorBoard
            experiment.add_figure(name, figure, trainer.global_step)
        elif hasattr(logger, "log_image"):  # Weights & Biases
            logger.log_image(name, [str(folder / filename)], trainer.global_step)
