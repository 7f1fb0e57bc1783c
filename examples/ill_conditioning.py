"""
Gradients of ill-conditioned matrices
=====================================

Covariance matrices of real signals have condition numbers of 1e5 and more. A Riemannian gradient depends quadratically
on the matrix in the affine-invariant and log-Euclidean metric, linearly in the Bures-Wasserstein metric: left, how much
longer a gradient in the strongest direction becomes than one in the weakest. Right: the gradient that batch norm in a
network (SPDNet) passes back to its input, while that learns to tell two Wishart distributions, which differ in all
directions (lines) or in the three strongest (dots). There, Bures-Wasserstein is about as accurate as the others,
with gradients up to a thousand times shorter; but it is blind to the weak directions, where they tell something.

.. image:: /images/ill_conditioning.png
   :alt: Gradients against the condition number, by metric
"""

import argparse
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from isometry.manifolds import Manifold, PowerDeformed, SPDAffineInvariant, SPDBuresWasserstein, SPDLogEuclidean
from isometry.models import SPDNet
from isometry.trainers.optim import RiemannianAdam

N = 8
METRICS: dict[str, Manifold] = {
    "affine-invariant": SPDAffineInvariant(N),
    "log-Euclidean": SPDLogEuclidean(N),
    "power-deformed": PowerDeformed(SPDBuresWasserstein(N), 0.5),
    "Bures-Wasserstein": SPDBuresWasserstein(N),
}
NETWORKS = ("no batch norm", "affine-invariant", "log-Euclidean", "Bures-Wasserstein")
COLORS = dict(zip((*METRICS, "no batch norm"), ("#d1495b", "#e58e2e", "#7b4fa3", "#2e86ab", "#8d8d99"), strict=True))
DATA = {"all directions": N, "three directions": 3}
CONDITIONS = (1e2, 1e5, 1e8)


def eigenvalues(condition: float) -> Tensor:
    """Return N eigenvalues from 1 down to ``1 / condition``."""
    return torch.logspace(0, -math.log10(condition), N, dtype=torch.float64)


def anisotropy(metric: Manifold, condition: float) -> float:
    """Return the ratio of the Riemannian gradients of two entries of a matrix, the strongest and the weakest."""
    entries = torch.eye(N, dtype=torch.float64).diag_embed()[[0, -1]]
    strongest, weakest = torch.linalg.matrix_norm(metric.egrad2rgrad(eigenvalues(condition).diag(), entries))
    return float(strongest / weakest)


def wishart(count: int, condition: float, directions: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return covariances of 16 samples of normal distributions of two classes, and the classes.

    These differ in the strongest directions, relative to the variances there by as much at each condition.
    """
    generator, y = torch.Generator().manual_seed(seed), torch.arange(count) % 2
    noise = torch.randn(count + 2, N, 16, generator=generator, dtype=torch.float64)
    change = nn.functional.pad(noise[0, :directions, :directions], (0, N - directions) * 2)
    change = (change + change.mT) / torch.linalg.matrix_norm(change + change.mT)
    signals = torch.linalg.matrix_exp((0.5 * y - 0.25)[:, None, None] * change) @ noise[2:]
    signals = torch.linalg.qr(noise[1])[0] @ (eigenvalues(condition).sqrt().unsqueeze(1) * signals)
    return signals @ signals.mT / 16, y


def train(condition: float, directions: int, metric: Manifold | None, seed: int, epochs: int) -> tuple[float, float]:
    """Return the accuracy on new matrices, in per cent, and the median norm of the gradient by an input matrix."""
    torch.manual_seed(seed)
    x, y = wishart(800, condition, directions, seed)
    # A rectifier that leaves eigenvalues as small as they are. In float32 their rounding alone would be larger.
    model = SPDNet((N, 6), 2, batch_norm=metric, eps=1e-12, dtype=torch.float64)
    optimizer = RiemannianAdam(model, lr=2e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, 4 * epochs)
    norms = []
    for rows in (rows for _ in range(epochs) for rows in torch.randperm(400).split(100)):
        batch = x[rows].requires_grad_()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch), y[rows], reduction="sum").backward()
        optimizer.step()
        schedule.step()
        norms.append(float(torch.linalg.matrix_norm(batch.grad).median()))
    with torch.no_grad():
        right = model.eval()(x[400:]).argmax(1) == y[400:]
    return 100 * float(right.double().mean()), float(np.median(norms))


def draw_anisotropy(axes: Axes) -> dict[str, float]:
    """Draw the ratio of gradients against the condition; return the exponents."""
    conditions, exponents = np.logspace(0, 8, 9), {}
    for name, metric in METRICS.items():
        ratios = [anisotropy(metric, condition) for condition in conditions]
        exponents[name] = math.log10(ratios[-1]) / 8
        line = "--" if name == "log-Euclidean" else "-"  # on that of affine-invariant
        axes.loglog(conditions, ratios, line, color=COLORS[name], label=name)
        axes.text(1.7e8, ratios[-1], f"{exponents[name]:g}", color=COLORS[name], va="center", fontsize=12)
    axes.set(title="Riemannian gradient, strongest to weakest (and exponent)", xlabel="condition number")
    return exponents


def compare(axes: Axes, directions: str, seeds: int, epochs: int) -> dict[str, float]:
    """Train all networks on data that differ in these directions; return the exponents of their gradients."""
    print(f"{directions:18}" + "".join(f"{name:>22}" for name in NETWORKS))
    lines: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for condition in CONDITIONS:
        print(f"{condition:<18.0e}", end="")
        for name in NETWORKS:
            runs = [train(condition, DATA[directions], METRICS.get(name), seed, epochs) for seed in range(seeds)]
            (accuracy, norm), (deviation, _) = np.mean(runs, 0), np.std(runs, 0)
            lines[name].append(norm)
            print(f"{accuracy:7.1f} ±{deviation:4.1f} {norm:8.1e}", end="", flush=True)
        print()
    style = "o-" if directions == "all directions" else "o:"
    for name, norms in lines.items():
        label = name if name not in METRICS and style == "o-" else None  # the others have theirs on the left
        axes.loglog(CONDITIONS, norms, style, color=COLORS[name], label=label)
    return {name: math.log10(norms[-1] / norms[0]) / 6 for name, norms in lines.items()}


def main(smoke: bool = False, folder: Path = Path("runs/ill_conditioning")) -> None:
    """Run the example; ``smoke`` trains for one epoch, to show that it runs."""
    torch.set_num_threads(1)  # small matrices
    warnings.filterwarnings("ignore", "BatchNorm: .* were stopped")  # some, where geodesics end
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    exponents = draw_anisotropy(left)
    print("Accuracy in per cent, and norm of the gradient of the loss by an input matrix")
    growth = [compare(right, directions, 1 if smoke else 5, 1 if smoke else 30) for directions in DATA]
    right.set(title="Gradient passed back to an input matrix", xlabel="condition number")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=12)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "ill_conditioning.png", dpi=110)
    print(f"The picture: {folder / 'ill_conditioning.png'}")
    grown = [gradients.pop("Bures-Wasserstein") < 0.45 < 0.6 < min(gradients.values()) for gradients in growth]
    if not smoke and not (all(grown) and np.allclose(list(exponents.values()), [2, 2, 1.5, 1])):
        raise SystemExit("expected exponents 2, 2, 1.5 and 1, and in networks below 0.45 only of Bures-Wasserstein")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    parser.add_argument("--folder", type=Path, default=Path("runs/ill_conditioning"), help="where the picture goes")
    main(**vars(parser.parse_args()))
