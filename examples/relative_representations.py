"""
Swap the encoders of networks that never met
============================================

Networks trained from several seeds have features that differ by about a rotation: the classifier of one cannot read the
features of another. If features are replaced by their similarities to those of 128 anchors, the same samples for all,
it can, without a step of training. Compared are cosines, geodesic distances and a product of several similarities.

Scikit-learn's digits, and with ``--data`` the folder of MNIST's 10,000 test images.
"""

import argparse
import functools
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from isometry.layers import RelativeCosines, RelativeDistances, RelativeProduct
from isometry.layers.hyperbolic import FeatureClipping, ToHyperbolic
from isometry.manifolds import Euclidean, Lorentz, Sphere
from isometry.trainers import Classification
from isometry.trainers.data import Digits, MNIST10k, TensorDataModule
from isometry.trainers.optim import RiemannianAdam

FEATURES, ANCHORS, HIDDEN = 32, 128, 64


class ToSphere(nn.Module):
    """The directions of features, which are not 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Return points of the sphere."""
        return Sphere(FEATURES - 1).projx(x)


class Absolute(nn.Module):
    """A reader of the features themselves, of the same form as ``RelativeProduct``."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.LayerNorm(FEATURES), nn.Linear(FEATURES, HIDDEN), nn.Tanh())

    def forward(self, x: Tensor, anchors: Tensor) -> Tensor:
        """Return what is read, without a look at the anchors."""
        return self.head(x)


def reader(similarity: str) -> nn.Module:
    """Return what makes features, and those of anchors, what the classifier reads."""
    if similarity == "absolute":
        return Absolute()
    space = Lorentz(FEATURES)
    parts: dict[str, nn.Module] = {
        "cosine": RelativeCosines(),
        "distance on the sphere": RelativeDistances(Sphere(FEATURES - 1), ToSphere()),
        "Euclidean distance": RelativeDistances(Euclidean(FEATURES)),
        "hyperbolic distance": RelativeDistances(space, nn.Sequential(FeatureClipping(3.0), ToHyperbolic(space))),
    }
    chosen = list(parts.values()) if similarity == "product of the four" else [parts[similarity]]
    return RelativeProduct(chosen, ANCHORS, HIDDEN)


SIMILARITIES = (
    "absolute",
    "cosine",
    "distance on the sphere",
    "Euclidean distance",
    "hyperbolic distance",
    "product of the four",
)


class Stitched(nn.Module):
    """An encoder, and what reads its features relative to those of anchors."""

    anchors: Tensor

    def __init__(self, encoder: nn.Module, reader: nn.Module, classifier: nn.Module, anchors: Tensor) -> None:
        super().__init__()
        self.encoder, self.reader, self.classifier = encoder, reader, classifier
        self.register_buffer("anchors", anchors)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images."""
        return self.classifier(self.reader(self.encoder(x), self.encoder(self.anchors)))


def trained(data: TensorDataModule, similarity: str, anchors: Tensor, epochs: int, seed: int) -> Stitched:
    """Train encoder, reader and classifier together."""
    pl.seed_everything(seed, verbose=False)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(anchors[0].numel(), 128), nn.ReLU(), nn.Linear(128, FEATURES))
    model = Stitched(encoder, reader(similarity), nn.Linear(HIDDEN, data.num_classes), anchors)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    module = Classification(model, data.num_classes, functools.partial(RiemannianAdam, lr=1e-3))
    trainer.fit(module, train_dataloaders=data.train_dataloader())
    return model.eval()


@torch.no_grad()
def accuracies(models: Sequence[Stitched], images: Tensor, labels: Tensor) -> tuple[list[float], list[float]]:
    """Return test accuracies of the networks, and of all pairs of one's encoder with what another reads by."""
    own: list[float] = []
    stitched: list[float] = []
    for encoded in models:
        for read in models:
            model = Stitched(encoded.encoder, read.reader, read.classifier, read.anchors)
            right = float((model(images).argmax(1) == labels).float().mean())
            (own if encoded is read else stitched).append(right)
    return own, stitched


def compare(name: str, data: TensorDataModule, epochs: int, seeds: int) -> None:
    """Train all networks and print a table."""
    anchors = data.parts["train"][0][torch.linspace(0, len(data.parts["train"][0]) - 1, ANCHORS).long()]
    print(f"{name:26}{'own encoder':>20}{'of another seed':>20}")
    for similarity in SIMILARITIES:
        models = [trained(data, similarity, anchors, epochs, seed) for seed in range(seeds)]
        columns = accuracies(models, *data.parts["test"])
        print(
            f"{similarity:26}" + "".join(f"{statistics.mean(v):12.3f} +- {statistics.pstdev(v):.3f}" for v in columns)
        )


def main(data: Path | None = None, epochs: int = 30, seeds: int = 4, smoke: bool = False) -> None:
    """Run the example; ``smoke`` trains for one epoch."""
    torch.set_num_threads(1)
    epochs, seeds = (1, 2) if smoke else (epochs, seeds)
    compare("digits", Digits(), epochs, seeds)
    if data is not None:
        compare("MNIST, 7,000 to train", MNIST10k(data), epochs // 3, seeds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of MNIST's test part")
    parser.add_argument("--epochs", type=int, default=30, help="of each training, a third of it for MNIST")
    parser.add_argument("--seeds", type=int, default=4, help="trainings with each similarity")
    parser.add_argument("--smoke", action="store_true", help="one epoch")
    main(**vars(parser.parse_args()))
