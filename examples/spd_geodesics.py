"""
See the geometries of positive definite matrices
================================================

Between two covariance matrices runs one geodesic for each metric. Drawn are 2 x 2 matrices as ellipses, along geodesics
of six metrics and along the straight line, which swells: on the way the determinant becomes larger than at both ends.
Continued, the line soon leaves the positive definite matrices, and a geodesic of a Bures-Wasserstein metric ends, too,
where it meets a singular matrix; the other metrics' never do. Below are weighted Frechet means of four matrices.
(The generalised metric's M is the first matrix, and the deformation is the square root.)

.. image:: /images/spd_geodesics.png
   :alt: Ellipses along geodesics of seven metrics, and weighted means of four ellipses for two metrics
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from torch import Tensor

from isometry.manifolds import (
    Manifold,
    PowerDeformed,
    SPDAffineInvariant,
    SPDBuresWasserstein,
    SPDGeneralizedBuresWasserstein,
    SPDLogCholesky,
    SPDLogEuclidean,
)

INK, GREY, RED = "#2b2d42", "#a9abb8", "#d1495b"
CORNERS = np.array([[0.05, 0.03, 0.53], [0.25, 0.68, 0.93], [0.87, 0.20, 0.48], [0.99, 0.69, 0.22]])


def matrix(long: float, short: float, degrees: float) -> Tensor:
    """Return the matrix whose ellipse has these half axes, the long one at an angle to the horizontal."""
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    frame = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    return frame @ torch.tensor([[long, 0], [0, short]], dtype=torch.float64) ** 2 @ frame.mT


START, END = matrix(0.38, 0.105, -15), matrix(0.38, 0.105, 64)
METRICS: dict[str, tuple[Manifold | None, float]] = {  # and the largest determinant on the way
    "straight line": (None, 3.692),
    "Bures-Wasserstein": (SPDBuresWasserstein(2), 2.039),
    "generalised Bures-Wasserstein": (SPDGeneralizedBuresWasserstein(2, START), 2.134),
    "power-deformed Bures-Wasserstein": (PowerDeformed(SPDBuresWasserstein(2), 0.5), 1.474),
    "log-Cholesky": (SPDLogCholesky(2), 1.0),
    "log-Euclidean": (SPDLogEuclidean(2), 1.0),
    "affine-invariant": (SPDAffineInvariant(2), 1.0),
}


def path(metric: Manifold | None, t: Tensor) -> Tensor:
    """Return the points at ``t`` of the geodesic from START to END, NaN where it has ended."""
    x = START + t[:, None, None] * (END - START) if metric is None else metric.geodesic(t, START, END)
    inside = torch.linalg.eigvalsh(x.nan_to_num())[:, 0] > 0
    return torch.where(inside[:, None, None], x, torch.nan)


def ellipses(axes: Axes, x: Tensor, at: Tensor, colors: npt.NDArray[np.float64], given: Tensor) -> None:
    """Draw matrices ``[n, 2, 2]`` around the points ``at [n, 2]``, with a strong outline those that were given."""
    angle = torch.linspace(0, 2 * torch.pi, 181, dtype=x.dtype)
    outlines = at.unsqueeze(1) + (torch.linalg.cholesky(x) @ torch.stack([angle.cos(), angle.sin()])).mT
    edges, widths = np.where(given, INK, "white").tolist(), np.where(given, 2.0, 0.8)
    shapes = list(outlines.numpy())
    axes.add_collection(
        PolyCollection(shapes, facecolors=colors, edgecolors=edges, linewidths=widths, clip_on=False, zorder=2)
    )


def draw_path(axes: Axes, name: str, metric: Manifold | None) -> None:
    """Draw the ellipses of one geodesic, pale beyond its end points, and bars where it ends."""
    t, fine = torch.linspace(-0.5, 1.5, 9, dtype=torch.float64), torch.linspace(-0.5, 1.5, 2001, dtype=torch.float64)
    x, alive = path(metric, t), path(metric, fine)[:, 0, 0].isfinite()
    colors = colormaps["plasma"](0.85 * t.clamp(0, 1).numpy())
    colors[:, 3] = np.where((t < 0) | (t > 1), 0.3, 1)
    there, at = x[:, 0, 0].isfinite(), torch.stack([4 * t, torch.zeros_like(t)], 1)
    ellipses(axes, x[there], at[there], colors[there.numpy()], ((t == 0) | (t == 1))[there])
    axes.plot(4 * fine[alive], 0 * fine[alive], color=GREY, linewidth=1, zorder=1)
    for end in fine[alive][[0, -1]].tolist():
        if end not in (-0.5, 1.5):
            axes.plot([4 * end] * 2, [-0.25, 0.25], color=RED, linewidth=3, solid_capstyle="round", zorder=3)
    axes.text(-2.9, 0, name.replace(" Bures", "\nBures"), ha="right", va="center", color=INK, fontsize=13)
    axes.set(xlim=(-2.9, 6.9), ylim=(-0.53, 0.53), aspect="equal", frame_on=False, xticks=[], yticks=[])


def draw_determinants(axes: Axes, growth: Tensor) -> None:
    """Draw determinants along a geodesic relative to that of the end points."""
    t = np.linspace(0, 1, len(growth))
    axes.fill_between(t, 0, growth.numpy(), color=GREY, alpha=0.3, linewidth=0)
    axes.fill_between(t, 1, growth.numpy(), color=RED, alpha=0.5, linewidth=0)
    axes.text(0.5, float(growth.max()) + 0.25, f"{growth.max():.2f}", ha="center", color=INK, fontsize=12)
    axes.set(xlim=(-0.05, 1.05), ylim=(-1.2, 6), frame_on=False, xticks=[], yticks=[])


def draw_means(axes: Axes, name: str, metric: Manifold, size: int) -> None:
    """Draw the weighted means of four matrices on a grid; a colour is the same mean of four colours."""
    corners = torch.stack([START, matrix(0.42, 0.34, 60), matrix(0.15, 0.11, 0), END])
    s = torch.linspace(0, 1, size, dtype=torch.float64)
    right, up = torch.cartesian_prod(s, s).unbind(1)
    weights = torch.stack([(1 - right) * up, right * up, (1 - right) * (1 - up), right * (1 - up)], 1)
    means = metric.frechet_mean(corners.expand(len(weights), 4, 2, 2), weights)
    at = torch.stack([right, up], 1) * (size - 1)
    ellipses(axes, means, at, weights.numpy() @ CORNERS, (weights == 1).any(1))
    axes.set_title(name, color=INK, fontsize=13)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(-0.5, size - 0.5), aspect="equal", frame_on=False, xticks=[], yticks=[])


def main(smoke: bool = False, folder: Path = Path("runs/spd_geodesics")) -> None:
    """Run the example; ``smoke`` draws fewer means."""
    torch.set_num_threads(1)  # small matrices
    figure = Figure(figsize=(13, 14.6))
    figure.text(0.03, 0.972, "Geodesics between two matrices", color=INK, fontsize=17, fontweight="bold")
    figure.text(0.4, 0.972, "continued, they are pale; at a red bar they end", color="#6f7180", fontsize=13)
    figure.text(0.985, 0.972, "determinant", ha="right", color=INK, fontsize=13)
    figure.text(0.03, 0.43, "Weighted means of four matrices", color=INK, fontsize=17, fontweight="bold")
    rows = figure.add_gridspec(
        7, 2, width_ratios=[7.5, 1], wspace=0, hspace=0, left=0.2, right=0.99, top=0.965, bottom=0.475
    )
    print("Largest determinant on the way, relative to that of the end points")
    for row, (name, (metric, expected)) in enumerate(METRICS.items()):
        axes = figure.add_subplot(rows[row, 0])
        draw_path(axes, name, metric)
        growth = path(metric, torch.linspace(0, 1, 101, dtype=torch.float64)).det() / START.det()
        draw_determinants(figure.add_subplot(rows[row, 1]), growth)
        print(f"{name:36}{growth.max():8.3f}")
        if not abs(float(growth.max()) - expected) < 1e-3:
            raise SystemExit(f"expected {expected}")
    for t in (0.0, 0.5, 1.0):
        axes.text(4 * t, -0.75, f"$t = {t:g}$", ha="center", va="top", color=INK, fontsize=12)
    means = figure.add_gridspec(1, 2, left=0.03, right=0.97, wspace=0.12, top=0.4, bottom=0.015)
    draw_means(figure.add_subplot(means[0]), "affine-invariant", SPDAffineInvariant(2), 3 if smoke else 7)
    draw_means(figure.add_subplot(means[1]), "Bures-Wasserstein", SPDBuresWasserstein(2), 3 if smoke else 7)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "spd_geodesics.png", dpi=110)
    print(f"The picture: {folder / 'spd_geodesics.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="fewer means")
    parser.add_argument("--folder", type=Path, default=Path("runs/spd_geodesics"), help="where the picture goes")
    main(**vars(parser.parse_args()))
