"""
Spread representations by their minimum spanning tree
=====================================================

T-REGS lengthens the minimum spanning tree of a batch. A few points of a sphere then become the vertices of a regular
simplex, whose tree no others exceed; points that had collapsed to a line spread over all dimensions; and a network that
sees two noisy views of each digit does not map all of them to one point, as it does without.
"""

import argparse
import math
import statistics
from collections.abc import Callable

import geoopt
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from isometry.manifolds import Euclidean, Manifold, Sphere
from isometry.trainers.data import Digits
from isometry.trainers.losses import (
    TREGSLoss,
    covariance_penalty,
    simplex_length,
    spanning_tree_length,
    variance_penalty,
    von_neumann_entropy,
)
from isometry.trainers.metrics import ClassProbe
from isometry.trainers.optim import RiemannianSGD

EMBEDDING = 16


def ascend(metric: Manifold, x: Tensor, steps: int, rate: float) -> Tensor:
    """Lengthen the tree of points of a sphere, its edges measured by ``metric``."""
    points = geoopt.ManifoldParameter(x.clone(), manifold=Sphere(x.shape[1] - 1))
    optimizer, loss = RiemannianSGD([points], lr=rate), TREGSLoss(metric)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.01 ** (1 / steps))
    for _ in range(steps):
        optimizer.zero_grad()
        loss(points).backward()
        optimizer.step()
        decay.step()
    return points.detach()


def simplices(steps: int, seeds: int) -> None:
    """Print how near random points come to the longest tree, by chords and by arcs."""
    print("points, coordinates: tree / that of the simplex, by chords and by arcs, worst of all seeds")
    for count, dim in ((3, 3), (4, 3), (8, 16), (17, 16)):
        ratios = []
        for metric, longest in (
            (Euclidean(dim), simplex_length(count)),
            (Sphere(dim - 1), (count - 1) * math.acos(-1 / (count - 1))),
        ):
            lengths = []
            for seed in range(seeds):
                start = torch.Generator().manual_seed(seed)
                x = Sphere(dim - 1).random(count, dim, generator=start, dtype=torch.float64)
                lengths.append(float(spanning_tree_length(metric, ascend(metric, x, steps, 0.5))) / longest)
            ratios.append(min(lengths))
        print(f"{count:6}, {dim:2}: {ratios[0]:.5f} {ratios[1]:.5f}")


def effective_rank(x: Tensor) -> float:
    """Return the exponential of the entropy of centred points: how many dimensions they fill."""
    return float(von_neumann_entropy((x - x.mean(0)).double()).exp())


def recovery(steps: int) -> None:
    """Print how many dimensions 128 points near a line fill before and after."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(128, EMBEDDING, generator=generator, dtype=torch.float64)
    scale = torch.full((EMBEDDING,), 1e-4, dtype=torch.float64)
    scale[1] = 0.3
    x = Sphere(EMBEDDING - 1).projx(torch.eye(EMBEDDING, dtype=torch.float64)[0] + scale * noise)
    after = ascend(Sphere(EMBEDDING - 1), x, steps, 4.0)
    uniform = Sphere(EMBEDDING - 1).projx(noise)
    ranks = ", ".join(f"{name} {effective_rank(v):.2f}" for name, v in (("line", x), ("after", after)))
    print(f"effective rank of 128 points in {EMBEDDING} dimensions: {ranks}, uniform {effective_rank(uniform):.2f}")


REGULARISERS: dict[str, tuple[bool, Callable[[Tensor], Tensor]]] = {  # whether on the sphere; VICReg as published
    "nothing": (False, lambda z: z.new_zeros(())),
    "VICReg's variance, covariance": (False, lambda z: 20 * variance_penalty(z) + 0.8 * covariance_penalty(z)),
    "T-REGS, flat": (False, TREGSLoss(Euclidean(EMBEDDING), 1.0)),
    "T-REGS, sphere": (True, TREGSLoss(Sphere(EMBEDDING - 1))),
}


def pretrained(name: str, images: Tensor, epochs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Learn from noisy views, without labels; return the features and embeddings of all images."""
    torch.manual_seed(seed)
    on_sphere, regulariser = REGULARISERS[name]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
    expander = nn.Sequential(nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, EMBEDDING))
    optimizer = torch.optim.Adam([*encoder.parameters(), *expander.parameters()], lr=1e-3)

    def embeddings(x: Tensor) -> Tensor:
        return Sphere(EMBEDDING - 1).projx(expander(encoder(x))) if on_sphere else expander(encoder(x))

    for _ in range(epochs):
        for batch in images[torch.randperm(len(images))].split(128)[:-1]:
            x, y = (embeddings(batch + 0.3 * torch.randn_like(batch)) for _ in range(2))
            loss = 10 * mse_loss(x, y) + (regulariser(x) + regulariser(y)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    encoder.eval(), expander.eval()
    with torch.no_grad():
        return encoder(images), embeddings(images)


def self_supervised(epochs: int, seeds: int) -> None:
    """Print what a regression reads from the features, and how many dimensions the embeddings fill."""
    images, labels = (torch.cat(part) for part in zip(*Digits().parts.values(), strict=True))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    for name in REGULARISERS:
        rows = []
        for seed in range(seeds):
            features, embedded = pretrained(name, images, epochs, seed)
            probe = ClassProbe(10)
            probe.update(features, labels)
            deviation = float(embedded.std(0).mean())
            rows.append((float(probe.compute()), deviation, effective_rank(embedded)))
        columns = [f"{statistics.mean(v):.3f} +- {statistics.pstdev(v):.3f}" for v in zip(*rows, strict=True)]
        print(f"{name:30} accuracy {columns[0]}, deviation {columns[1]}, effective rank {columns[2]}")


def main(epochs: int = 40, seeds: int = 3, smoke: bool = False) -> None:
    """Print the three results."""
    torch.set_num_threads(1)
    simplices(20 if smoke else 600, 1 if smoke else seeds)
    recovery(5 if smoke else 300)
    self_supervised(1 if smoke else epochs, 1 if smoke else seeds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40, help="of each network")
    parser.add_argument("--seeds", type=int, default=3, help="of points and networks")
    parser.add_argument("--smoke", action="store_true", help="a few steps")
    main(**vars(parser.parse_args()))
