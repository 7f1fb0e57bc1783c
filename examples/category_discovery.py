"""
Discover new categories
=======================

Scikit-learn's digits, of which half of the images of 0 to 4 are labelled; all others, 5 to 9 among them, are to be put
into ten classes. A network learns from two noisy views of each image and the labels, by contrastive losses in
hyperbolic space (HypCD) or without; its features are clustered by k-means. Accuracies are those of the images without
labels: of all, of the old digits and of the new ones.
"""

import argparse
import statistics

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn.functional import normalize

from isometry.manifolds import Euclidean, Lorentz
from isometry.models import HypCD
from isometry.trainers.data import Digits
from isometry.trainers.losses import HypCDLoss
from isometry.trainers.metrics import ClusterAccuracy
from isometry.trainers.optim import RiemannianAdam

FEATURES, DIM, OLD, UNLABELLED = 64, 16, 5, -100


def clustered(features: Tensor, labels: Tensor, known: Tensor, seed: int) -> list[float]:
    """Return the accuracies of ten clusters of all images: of all without a label, of the old and of the new ones."""
    clusters = KMeans(10, n_init=10, random_state=seed).fit_predict(features.numpy())
    metric = ClusterAccuracy(10, OLD)
    metric.update(torch.from_numpy(clusters).long()[~known], labels[~known])
    return [float(value) for value in metric.compute().values()]


def learned(images: Tensor, labels: Tensor, space: Lorentz | Euclidean, distance: float, epochs: int) -> Tensor:
    """Train with a weight of the distance that grows up to ``distance``; return the features of all images."""
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, FEATURES))
    model, loss = HypCD(backbone, FEATURES, 128, space), HypCDLoss(space)
    optimizer = RiemannianAdam(model, lr=1e-3)
    for epoch in range(epochs):
        loss.distance_weight = distance * (epoch + 1) / epochs
        for rows in torch.randperm(len(images)).split(128)[:-1]:
            batch = images[rows]
            views = [torch.roll(batch, int(torch.randint(-1, 2, ())), -1) for _ in range(2)]
            points = torch.stack([model(view + 0.2 * torch.randn_like(view)) for view in views])
            optimizer.zero_grad()
            loss(points, labels[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return backbone(images)


def main(epochs: int = 40, seeds: int = 5, smoke: bool = False) -> None:
    """Print a table of accuracies; ``smoke`` trains for one epoch."""
    torch.set_num_threads(1)
    epochs, seeds = (1, 1) if smoke else (epochs, seeds)
    images, labels = (torch.cat(part) for part in zip(*Digits().parts.values(), strict=True))
    networks = {
        "k-means of pixels": None,
        "angles (Euclidean)": (lambda: Euclidean(DIM), 0.0),
        "angles, distances (Euclidean)": (lambda: Euclidean(DIM), 1.0),
        "angles, distances (HypCD)": (lambda: Lorentz(DIM, 0.1, learnable=True), 1.0),
    }
    print(f"{'accuracy of the unlabelled':30}{'all':>10}{'old':>16}{'new':>16}")
    for name, network in networks.items():
        runs = []
        for seed in range(seeds):
            torch.manual_seed(seed)
            known = (labels < OLD) & (torch.rand(len(labels)) < 0.5)
            features = images.flatten(1)
            if network is not None:
                space, distance = network
                features = learned(images, labels.where(known, UNLABELLED), space(), distance, epochs)
            runs.append(clustered(normalize(features), labels, known, seed))
        columns = [f"{statistics.mean(v):6.3f} +- {statistics.pstdev(v):.3f}" for v in zip(*runs, strict=True)]
        print(f"{name:30}" + " ".join(columns), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40, help="of each training")
    parser.add_argument("--seeds", type=int, default=5, help="labelled halves and networks")
    parser.add_argument("--smoke", action="store_true", help="one epoch")
    main(**vars(parser.parse_args()))
