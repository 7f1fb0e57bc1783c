"""
Classes as subspaces
====================

A linear classifier knows each class by a vector. Here a class is a subspace of dimension k, a point of the Grassmann
manifold, and an image belongs to the class with whose subspace its features make the least angle. At equal numbers of
parameters: accuracy on new images; angles from features to their class, and within a class; and "transfer", how well a
logistic regression tells 5 to 9 by features learned from 0 to 4. Subspaces win, mostly with k = 1 already; from pixels
it does still better, and with SGD vectors transfer as well. Images are scikit-learn's or, with ``--data``, MNIST's.

.. image:: /images/subspace_classes.png
   :alt: Angles between the subspaces of ten digits, and between the features of one digit
"""

import argparse
import functools
import logging
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from isometry.layers import SubspaceClassifier
from isometry.manifolds import Grassmann
from isometry.trainers import Classification
from isometry.trainers.data import Digits, MNIST10k, ShuffledSamples
from isometry.trainers.optim import RiemannianAdam

HEADS = {"softmax": 0, "k = 1": 1, "k = 2": 2, "k = 4": 4, "k = 8": 8}
FEATURES, WIDTH, SEEN, INK = 64, 128, 5, "#2b2d42"


class Network(nn.Module):
    """A network with a head of subspaces, of vectors for ``k = 0``; with as many parameters for every k."""

    def __init__(self, pixels: int, classes: int, k: int) -> None:
        super().__init__()
        self.head = SubspaceClassifier(FEATURES, classes, k) if k else nn.Linear(FEATURES, classes)
        more = sum(p.numel() for p in self.head.parameters()) - classes * (FEATURES + 1)
        width = WIDTH - round(more / (pixels + 1 + FEATURES))
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, FEATURES))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images."""
        return self.head(self.body(x))

    @property
    def frames(self) -> Tensor:
        """The orthonormal frames of the classes, ``[classes, features, k]``."""
        return nn.functional.normalize(self.head.weight.view(len(self.head.weight), FEATURES, -1), dim=1)


def train(x: Tensor, y: Tensor, classes: int, k: int, seed: int, epochs: int) -> Network:
    """Return a trained network."""
    torch.manual_seed(seed)
    model = Network(x[0].numel(), classes, k)
    optimizer = functools.partial(RiemannianAdam, lr=1e-3, weight_decay=1e-4)
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", barebones=True)  # no logger, no checkpoints
    trainer.fit(Classification(model, classes, optimizer), ShuffledSamples((x, y), 64, seed=seed))
    return model.requires_grad_(False)


def transfer(data: Digits | MNIST10k, features: nn.Module) -> float:
    """Fit a logistic regression of features to the last digits; return its accuracy."""
    parts = (data.parts[name] for name in ("train", "test"))
    (x, y), (new_x, new_y) = ((features(x[y >= SEEN]), y[y >= SEEN] - SEEN) for x, y in parts)
    center, scale, linear = x.mean(0), x.std(0) + 1e-6, nn.Linear(x.shape[1], 10 - SEEN)
    optimizer = RiemannianAdam(linear, lr=0.1, weight_decay=2e-3)
    for _ in range(200):  # until it has converged
        optimizer.zero_grad()
        nn.functional.cross_entropy(linear((x - center) / scale), y).backward()
        optimizer.step()
    return 100 * float((linear((new_x - center) / scale).argmax(1) == new_y).double().mean())


def angles(model: Network, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the angles in degrees between features and the subspace of their class, and between those of a class."""
    features = nn.functional.normalize(model.body(x), dim=1)
    to_class = (features.unsqueeze(1) @ model.frames[y]).norm(dim=(1, 2))
    within = (features @ features.mT)[(y.unsqueeze(1) == y).triu(1)]
    return to_class.clamp(max=1).acos().rad2deg(), within.clamp(-1, 1).acos().rad2deg()


def experiment(data: Digits | MNIST10k, k: int, seed: int, epochs: int) -> tuple[Network, list[float]]:
    """Return a network of all digits; its accuracy, the transfer from the first digits, and mean angles."""
    (x, y), (new_x, new_y) = data.parts["train"], data.parts["test"]
    model, first = train(x, y, 10, k, seed, epochs), y < SEEN
    accuracy = 100 * float((model(new_x).argmax(1) == new_y).double().mean())
    features = train(x[first], y[first], SEEN, k, seed, epochs).body
    return model, [accuracy, transfer(data, features), *(float(a.mean()) for a in angles(model, new_x, new_y))]


def draw_subspaces(axes: Axes, frames: Tensor) -> None:
    """Draw the least and the mean principal angles between two classes."""
    angle = Grassmann(*frames.shape[1:]).principal_angles(frames.unsqueeze(1), frames).rad2deg()
    matrix = torch.where(torch.ones(10, 10).triu() > 0, angle[..., 0], angle.mean(-1)).fill_diagonal_(torch.nan)
    axes.imshow(matrix.numpy(), cmap="magma", vmin=30, vmax=90)
    for (row, column), value in np.ndenumerate(matrix.numpy()):
        label = f"${row}$" if row == column else f"{value:.0f}°"
        axes.text(column, row, label, ha="center", va="center", color="white" if value < 65 else INK)
    title = f"Principal angles of {frames.shape[2]}-dimensional subspaces: least above, mean below"
    axes.set(title=title, frame_on=False, xticks=[], yticks=[])


def draw_spread(axes: Axes, row: int, name: str, to_class: Tensor, within: Tensor) -> None:
    """Draw the distributions of the angles of one head."""
    bins, color = np.linspace(0, 110, 56), colormaps["plasma"](0.85 * row / 4)
    line, filled = (13 * np.histogram(angle.numpy(), bins, density=True)[0] - row for angle in (to_class, within))
    axes.stairs(filled, bins, baseline=-row, fill=True, color=color, alpha=0.8)
    axes.stairs(line, bins, baseline=-row, color=INK, linewidth=1.5)
    axes.text(-3, -row, name, ha="right", va="bottom", fontsize=12)
    axes.set(title="Degrees within a class (filled), to its subspace (line)", yticks=[], xticks=range(0, 101, 20))
    axes.spines[:].set_visible(False)


def main(data: Path | None = None, smoke: bool = False, folder: Path = Path("runs/subspace_classes")) -> None:
    """Run the example; ``smoke`` trains for one epoch, to show that it runs."""
    torch.set_num_threads(1)  # small layers
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # so many trainings
    images = Digits() if data is None else MNIST10k(data)
    seeds, epochs = (1, 1) if smoke else (5, 40 if data is None else 12)
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    print(f"{'':10}{'parameters':>10}{'accuracy %':>15}{'transfer %':>15}{'° to class':>15}{'° within class':>15}")
    print(f"{'pixels':36}{transfer(images, nn.Flatten()):8.1f}")
    means = {}
    for row, (name, k) in enumerate(HEADS.items()):
        models, numbers = zip(*(experiment(images, k, seed, epochs) for seed in range(seeds)), strict=True)
        means[name], deviations = np.mean(numbers, 0), np.std(numbers, 0)
        shown = [f"{mean:8.1f} ±{spread:4.1f}" for mean, spread in zip(means[name], deviations, strict=True)]
        print(f"{name:10}{sum(p.numel() for p in models[0].parameters()):10}", *shown, flush=True)
        draw_spread(right, row, name, *angles(models[0], *images.parts["test"]))
    draw_subspaces(left, models[0].frames)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "subspace_classes.png", dpi=110)
    if not smoke and not (means["k = 4"][:2] > means["softmax"][:2]).all():
        raise SystemExit("expected subspaces of dimension 4 to be better than vectors, on known and unseen digits")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of MNIST's t10k-*-ubyte.gz, instead of the digits")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    parser.add_argument("--folder", type=Path, default=Path("runs/subspace_classes"), help="where the picture goes")
    main(**vars(parser.parse_args()))
