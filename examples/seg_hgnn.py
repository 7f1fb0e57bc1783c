"""
Segment an image without labels
===============================

Scikit-image's cameraman as a graph of 32 x 32 patches: neighbours are joined by how alike they are. A hyperbolic graph
network of some hundred parameters learns the segments of this image alone, by its normalised cut; spectral clustering
solves the relaxed problem. Printed are the cuts of both, smaller is better, and how far the segments are the same.
"""

import argparse
import statistics

import numpy as np
import torch
from scipy.sparse import coo_array
from sklearn.cluster import spectral_clustering
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from torch.nn.functional import one_hot

from isometry.manifolds import Euclidean, Lorentz
from isometry.models import SegHGNN
from isometry.trainers.data import SkimageImage
from isometry.trainers.losses import NormalizedCutLoss, normalized_cut
from isometry.trainers.optim import RiemannianAdam

REACH, DIM = 4.0, 10  # how far joined patches are apart, and dimensions of the network


def patches(image: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return brightness and texture, standardised, and the places of the patches of an image."""
    height, width, channels = image.shape
    rows, columns = height // side, width // side
    blocks = image[: rows * side, : columns * side].reshape(rows, side, columns, side, channels)
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    looks = torch.cat([blocks.mean((1, 3)), blocks.std((1, 3))], -1).flatten(0, 1)
    return (looks - looks.mean(0)) / looks.std(0), place


def patch_graph(looks: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Return the edges between patches up to ``REACH`` apart, and their weights, as Shi and Malik's."""
    apart = torch.cdist(place, place)
    edges = ((apart > 0) & (apart <= REACH)).nonzero().T
    alike = (looks[edges[0]] - looks[edges[1]]).square().sum(1)
    return edges, (-alike / 4 - (apart[edges[0], edges[1]] / REACH).square()).exp()


def learned(
    hyperbolic: bool, segments: int, features: Tensor, edges: Tensor, weights: Tensor, steps: int, seed: int
) -> Tensor:
    """Train a network on the image; return the segments of the patches."""
    torch.manual_seed(seed)
    space = Lorentz(DIM, learnable=True) if hyperbolic else Euclidean(DIM)
    model, loss = SegHGNN(features.shape[1], space, segments), NormalizedCutLoss()
    optimizer = RiemannianAdam(model, lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model(features, edges, weights), edges, weights).backward()
        optimizer.step()
    with torch.no_grad():
        return model(features, edges, weights).argmax(1)


def cut(labels: Tensor, segments: int, edges: Tensor, weights: Tensor) -> float:
    """Return the normalised cut, infinite where a segment is empty."""
    if len(labels.unique()) < segments:
        return float("inf")
    return float(normalized_cut(one_hot(labels, segments).to(weights), edges, weights))


def main(steps: int = 200, seeds: int = 3, smoke: bool = False) -> None:
    """Print a table; ``smoke`` takes large patches of noise and a few steps."""
    torch.set_num_threads(1)
    steps, seeds, side = (3, 1, 64) if smoke else (steps, seeds, 16)
    print(f"{'image, segments':24}{'spectral':>10}{'Seg-HGNN':>18}{'Euclidean':>18}   same as spectral")
    for name in ("camera.png", "coffee.png"):
        looks, place = patches(torch.rand(512, 512, 1) if smoke else SkimageImage(name).read(), side)
        edges, weights = patch_graph(looks, place)
        features = torch.cat([looks, (place - place.mean(0)) / place.std(0)], 1)
        affinity = coo_array((weights.numpy(), edges.int().numpy()), shape=(len(looks),) * 2)
        for segments in (2, 4):
            spectral = spectral_clustering(affinity, n_clusters=segments, random_state=0, assign_labels="discretize")
            columns, same = [], []
            for hyperbolic in (True, False):
                found = [learned(hyperbolic, segments, features, edges, weights, steps, seed) for seed in range(seeds)]
                cuts = [cut(labels, segments, edges, weights) for labels in found]
                columns.append(f"{statistics.mean(cuts):9.3f} +- {np.std(cuts):.3f}")
                same.append(statistics.mean(adjusted_rand_score(spectral, labels.numpy()) for labels in found))
            exact = cut(torch.from_numpy(spectral).long(), segments, edges, weights)
            print(f"{name + ', ' + str(segments):24}{exact:10.3f}{''.join(columns)}   {same[0]:.3f} {same[1]:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network")
    parser.add_argument("--smoke", action="store_true", help="a few steps on noise")
    main(**vars(parser.parse_args()))
