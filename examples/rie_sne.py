"""
Pictures of points on spheres and in hyperbolic space
=====================================================

Rie-SNE is t-SNE with the Brownian motion of the manifold that the points are on, drawn on a manifold, too. A mixture of
von Mises-Fisher distributions on the sphere in eleven dimensions goes to the plane and to a sphere, beside t-SNE of the
coordinates; scikit-learn's digits go to the plane by LargeVis, which samples; and a tree in five-dimensional hyperbolic
space goes to the Poincare disk by CO-SNE, which keeps depths.
"""

import argparse
import statistics
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE
from torch import Tensor

from isometry.manifolds import Euclidean, Manifold, PoincareBall, Scaled, Sphere
from isometry.models.constructions import Tree, sarkar_embedding
from isometry.trainers.data import balanced_tree
from isometry.trainers.neighbor_embedding import COSNE, LargeVis, RieSNE
from isometry.trainers.plots import plot_poincare_disk

NEIGHBOURS = 10


def mixture(n: int, dim: int, classes: int, concentration: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw a mixture of von Mises-Fisher distributions on ``Sphere(dim)``, by rejection (Wood 1994); return labels."""
    generator = torch.Generator().manual_seed(seed)
    b = dim / (2 * concentration + (4 * concentration**2 + dim**2) ** 0.5)
    x0 = (1 - b) / (1 + b)
    c = concentration * x0 + dim * torch.tensor(1 - x0**2).log()
    beta = torch.distributions.Beta(torch.tensor(dim / 2), torch.tensor(dim / 2))
    torch.manual_seed(seed)
    z = beta.sample((20 * n,))
    height = (1 - (1 + b) * z) / (1 - (1 - b) * z)
    kept = concentration * height + dim * (1 - x0 * height).log() - c >= torch.rand(20 * n, generator=generator).log()
    height = height[kept][:n].double()
    sphere, label = Sphere(dim), torch.arange(n) % classes
    centre = sphere.random(classes, dim + 1, generator=generator, dtype=torch.float64)[label]
    across = sphere.proju(centre, torch.randn(n, dim + 1, generator=generator, dtype=torch.float64))
    across = across / across.norm(dim=1, keepdim=True)
    return sphere.projx(height.unsqueeze(1) * centre + (1 - height.square()).sqrt().unsqueeze(1) * across), label


def quality(source: Manifold, x: Tensor, target: Manifold, y: Tensor, label: Tensor) -> tuple[float, float]:
    """Return 1-nearest-neighbour accuracy, and the share of the 10 nearest on ``source`` that are so on ``target``."""
    near = []
    for manifold, points in ((source, x), (target, y)):
        distances = torch.cat([manifold.dist(row.unsqueeze(1), points) for row in points.split(64)])
        near.append(distances.fill_diagonal_(torch.inf).topk(NEIGHBOURS, largest=False).indices)
    kept = (near[0].unsqueeze(2) == near[1].unsqueeze(1)).any(2).double().mean()
    return float((label[near[1][:, 0]] == label).double().mean()), float(kept)


def t_sne(x: Tensor, perplexity: float, seed: int) -> Tensor:
    """Return scikit-learn's t-SNE of the coordinates."""
    method = TSNE(2, perplexity=perplexity, init="pca", method="exact", random_state=seed)
    return torch.from_numpy(method.fit_transform(x.numpy())).to(x)


def main(points: int = 400, seeds: int = 3, smoke: bool = False) -> None:
    """Print the tables and save the pictures ``rie_sne.png`` and ``co_sne.png``."""
    torch.set_num_threads(1)
    steps, epochs, count, perplexity = (10, 1, 100, 10.0) if smoke else (750, 2000, 1797, 30.0)
    points, seeds = (60, 1) if smoke else (points, seeds)
    source, plane, sphere = Sphere(10), Euclidean(2), Scaled(Sphere(2), 10.0)
    scores: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        x, label = mixture(points, 10, 6, 12.0, seed)
        mapped = t_sne(x, perplexity, seed)
        scores.setdefault("t-SNE of coordinates", []).append(quality(source, x, plane, mapped, label))
        for name, target in (("Rie-SNE to the plane", plane), ("Rie-SNE to a sphere", sphere)):
            mapped = RieSNE(source, target, perplexity, steps=steps).fit_transform(x)
            scores.setdefault(name, []).append(quality(source, x, target, mapped, label))
            if name == "Rie-SNE to the plane":
                picture = [("Rie-SNE of a mixture on a sphere", mapped, label)]
    for name, values in scores.items():
        columns = [f"{statistics.mean(v):.3f} +- {statistics.pstdev(v):.3f}" for v in zip(*values, strict=True)]
        print(f"{name:22} 1-NN accuracy {columns[0]}, neighbours kept {columns[1]}")

    digits, numbers = load_digits(return_X_y=True)
    x, label = torch.from_numpy(digits[:count]), torch.from_numpy(numbers[:count])
    mapped = LargeVis(Euclidean(64), plane, perplexity, epochs=epochs).fit_transform(x)
    picture.append(("LargeVis of digits", mapped, label))
    for name, y in (("LargeVis of digits", mapped), ("t-SNE of digits", t_sne(x, perplexity, 0))):
        accuracy, kept = quality(Euclidean(64), x, plane, y, label)
        print(f"{name:22} 1-NN accuracy {accuracy:.3f}, neighbours kept {kept:.3f}")

    graph = balanced_tree(3, 3 if smoke else 4)
    tree = sarkar_embedding(Tree(graph.edges, graph.num_nodes), 5, tau=1.5)
    ball, disk = PoincareBall(5), PoincareBall(2)
    x, branch = tree.points() * tree.tau, torch.arange(graph.num_nodes)
    while (branch > 3).any():
        branch = torch.where(branch > 3, (branch - 1) // 3, branch)
    for weight in (0.0, 10.0):
        y = COSNE(ball, 10.0, radius_weight=weight, steps=steps).fit_transform(x)
        depths = [m.dist(torch.zeros(m.dim, dtype=p.dtype), p) for m, p in ((ball, x), (disk, y))]
        correlation = float(torch.corrcoef(torch.stack(depths))[0, 1])
        accuracy, kept = quality(ball, x, disk, y, branch)
        print(f"CO-SNE, weight {weight:4}: correlation of depths {correlation:.3f}, neighbours kept {kept:.3f}")
    picture.append(("CO-SNE of a tree", y, branch))
    plot_poincare_disk(y, graph, num_labels=0).savefig(Path("co_sne.png"))
    draw(picture).savefig(Path("rie_sne.png"))


def draw(pictures: list[tuple[str, Tensor, Tensor]]) -> Figure:
    """Return the pictures side by side."""
    figure = Figure(figsize=(15, 5), dpi=100)
    FigureCanvasAgg(figure)
    for axes, (title, y, label) in zip(figure.subplots(1, len(pictures)), pictures, strict=True):
        axes.scatter(*y.T.numpy(), c=label.numpy(), cmap="tab10", s=8)
        axes.set(title=title, aspect="equal", xticks=[], yticks=[])
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=400, help="of the mixture")
    parser.add_argument("--seeds", type=int, default=3, help="of the mixture")
    parser.add_argument("--smoke", action="store_true", help="a few points and steps")
    main(**vars(parser.parse_args()))
