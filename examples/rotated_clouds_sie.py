"""
Split what stays from what turns
================================

Point clouds of ten shapes, each seen in two orientations. Without labels, a network that knows nothing of rotations (a
sum over points, then a perceptron) learns features of which one half ignores the rotation and the other half follows
it (SIE). What follows is a matrix W(R): either made linearly of R by learned matrices, or a representation of the
rotations by construction.

Printed are what regressions read from the halves, the class and the rotation between two views, and by how much
``W(R1 R2)`` differs from ``W(R1) W(R2)``.
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import pytorch_lightning as pl
import torch

from isometry.layers import LinearAction, LPAggregation, RotationAction
from isometry.manifolds import SpecialOrthogonal
from isometry.models import SIE, DeepSets
from isometry.trainers import SIEPretraining
from isometry.trainers.data import RotatedClouds
from isometry.trainers.optim import RiemannianAdam

Action = LinearAction | RotationAction
ACTIONS: dict[str, Callable[[], Action]] = {
    "learned matrices": lambda: LinearAction(9, 72),
    "representation": lambda: RotationAction("8x0e + 8x1o + 8x2e"),
}
COLUMNS = ("invariant/accuracy", "equivariant/accuracy", "invariant/r2", "equivariant/r2")


def network(action: Action) -> SIE:
    """Return a network with 64 invariant and 64 equivariant features."""
    backbone = DeepSets(3, LPAggregation(3, 24, 6, radius=1.5), 256, 128)
    return SIE(backbone, 128, 64, hidden_features=256, invariant_embedding=64, action=action)


def defect(action: Action) -> float:
    """Return ``|W(R1 R2) x - W(R1) W(R2) x|``, relative to ``|W(R1 R2) x|``, over random rotations and x."""
    first, second = (SpecialOrthogonal(3).random(200, 3, 3) for _ in range(2))
    x = torch.randn(200, action.features)
    with torch.no_grad():
        at_once, one_by_one = action(first @ second, x), action(first, action(second, x))
    return float((at_once - one_by_one).norm() / at_once.norm())


def train(data: RotatedClouds, action: Action, epochs: int) -> dict[str, float]:
    """Train once; return what is read from the features of the test part."""
    task = SIEPretraining(network(action), data.num_classes, partial(RiemannianAdam, lr=2e-3))
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(task, data)
    (result,) = trainer.test(task, data, verbose=False)
    return {name: result[f"test/{name}"] for name in COLUMNS} | {"defect": defect(action)}


def main(epochs: int = 60, seeds: int = 5, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes few clouds for two epochs, to show that it runs."""
    torch.set_num_threads(1)
    counts, epochs, seeds = ((256, 0, 128), 2, 1) if smoke else ((8000, 0, 4000), epochs, seeds)
    print(f"{'W(R)':20}" + "".join(f"{name:>24}" for name in (*COLUMNS, "defect")))
    for name, make in ACTIONS.items():
        runs = []
        for seed in range(seeds):
            pl.seed_everything(seed, verbose=False)
            runs.append(train(RotatedClouds(counts, points=24, seed=seed), make(), epochs))
        values = np.array([list(run.values()) for run in runs])
        cells = (f"{mean:14.3f} +- {std:.3f}" for mean, std in zip(values.mean(0), values.std(0), strict=True))
        print(f"{name:20}" + "".join(f"{cell:>24}" for cell in cells), flush=True)
        results = dict(zip((*COLUMNS, "defect"), values.mean(0), strict=True))
        if not smoke and not results["equivariant/r2"] > results["invariant/r2"] + 0.1:
            raise SystemExit("expected the rotation in the equivariant features, and not in the invariant ones")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60, help="of each training")
    parser.add_argument("--seeds", type=int, default=5, help="trainings with each action")
    parser.add_argument("--smoke", action="store_true", help="two epochs on few clouds")
    main(**vars(parser.parse_args()))
