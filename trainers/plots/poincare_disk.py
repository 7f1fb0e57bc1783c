"""A picture of a hierarchy in the Poincare disk."""

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from isometry.manifolds import PoincareBall, ShapeError
from isometry.trainers.data import Graph
from isometry.trainers.plots._hierarchy import Hierarchy
from isometry.trainers.plots._labels import draw_labels

Array = npt.NDArray[np.float64]

_COLORS = ("#d1495b", "#e58e2e", "#2e86ab", "#7b4fa3", "#17957f", "#3f4775", "#7a9e3c", "#c2578f", "#8c6d46", "#3fa7c4")
_REST = "#8d8d99"
_INCHES, _DPI, _MARGIN = 10, 200, 1.42


def plot_poincare_disk(
    points: Float[Tensor, "n 2"],
    graph: Graph | None = None,
    *,
    manifold: PoincareBall | None = None,
    center: Float[Tensor, "2"] | None = None,
    num_labels: int = 80,
) -> Figure:
    """Draw points of the hyperbolic plane, and a hierarchy on them, in the Poincare disk.

    Direct edges are geodesics, circular arcs orthogonal to the boundary. A branch has one colour, and a point the
    size of its subtree. Labels go to the largest subtrees, as far as they do not overlap.

    Args:
        points: Points of ``manifold``.
        graph: The hierarchy, edges (child, parent) and names; a transitive closure is reduced to its direct edges,
            and WordNet's suffixes (``dog.n.01``) are dropped from names.
        manifold: The ball that the points are on, by default of curvature -1.
        center: A point that an isometry moves to the centre, such as ``manifold.frechet_mean(points)``; by default the
            top of the hierarchy.
        num_labels: Label at most so many nodes.

    Returns:
        A figure of 2000 x 2000 pixels.

    Raises:
        ShapeError: The points are not in the plane, or not one for each node.
        OffManifoldError: A point is not inside the disk.
        ValueError: The graph has a cycle.
    """
    manifold = PoincareBall(2) if manifold is None else manifold
    if points.ndim != 2 or points.shape[-1] != 2 or manifold.dim != 2:
        raise ShapeError(
            f"plot_poincare_disk: expected points [n, 2] of PoincareBall(2), but got {tuple(points.shape)} of "
            f"{manifold!r}. Only the hyperbolic plane can be drawn: embed in 2 dimensions."
        )
    if graph is not None and graph.num_nodes != len(points):
        raise ShapeError(
            f"plot_poincare_disk: expected {graph.num_nodes} points, one for each node, but got {len(points)}."
        )
    manifold.assert_check_point_on_manifold(points)
    root_c = float(manifold.c) ** 0.5
    x = points.detach().cpu().double() * root_c
    figure, axes = _empty_disk()
    hierarchy = None if graph is None else Hierarchy(graph)
    if center is None and hierarchy is not None:
        center = points[hierarchy.landmarks()[0]]
    if center is not None:
        x = PoincareBall(2).act((torch.eye(2, dtype=x.dtype), -root_c * center.detach().to(x)), x)
    if graph is None or hierarchy is None:
        _draw_points(axes, x.numpy(), torch.ones(len(x)), [_REST] * len(x))
    else:
        colors = [_REST if branch is None else _COLORS[branch] for branch in hierarchy.branches(len(_COLORS))]
        _draw_edges(axes, x, hierarchy.edges, colors)
        _draw_points(axes, x.numpy(), hierarchy.sizes, colors)
        draw_labels(axes, x.numpy(), graph.names, hierarchy, colors, num_labels)
    return figure


def _empty_disk() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_INCHES, _INCHES), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), aspect="equal", xlim=(-_MARGIN, _MARGIN), ylim=(-_MARGIN, _MARGIN))
    axes.set_axis_off()
    axes.add_patch(Circle((0, 0), 1, facecolor="#f9f9fc", edgecolor="#cfcfd9", linewidth=1, zorder=0))
    return figure, axes


def _draw_edges(axes: Axes, x: Tensor, edges: Tensor, colors: list[str]) -> None:
    child, parent = edges.T
    t = torch.linspace(0, 1, 129, dtype=x.dtype)
    arcs = PoincareBall(2).geodesic(t.unsqueeze(-1), x[child], x[parent]).transpose(0, 1)
    shades = [colors[u] for u in child.tolist()]
    axes.add_collection(LineCollection(list(arcs.numpy()), colors=shades, linewidths=0.6, alpha=0.35, zorder=1))


def _draw_points(axes: Axes, x: Array, sizes: Tensor, colors: list[str]) -> None:
    order = sizes.argsort().tolist()
    area = 2 + 2 * sizes[order].double().sqrt().numpy()
    shades = [colors[i] for i in order]
    axes.scatter(x[order, 0], x[order, 1], s=area, c=shades, linewidths=0.2, edgecolors="white", zorder=2)
