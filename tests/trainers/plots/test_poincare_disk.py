import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.image import imread

from isometry.manifolds import OffManifoldError, PoincareBall, ShapeError
from isometry.trainers.data import Graph
from isometry.trainers.plots import plot_poincare_disk
from isometry.trainers.plots._labels import _spread


def tree(depth: int = 6, ratio: int = 3) -> tuple[torch.Tensor, Graph]:
    """A tree whose nodes are at twice the distance of their depth, in the middle of their sector."""
    points, edges, level = [(0.0, 0.0)], [], [(0, 0.0, math.tau)]
    for d in range(1, depth):
        children = []
        for (parent, start, width), k in itertools.product(level, range(ratio)):
            angle, radius = start + (k + 0.5) * width / ratio, math.tanh(d)
            edges.append((len(points), parent))
            children.append((len(points), start + k * width / ratio, width / ratio))
            points.append((radius * math.cos(angle), radius * math.sin(angle)))
        level = children
    names = tuple(f"node_{i}.n.01" for i in range(len(points)))
    return torch.tensor(points, dtype=torch.float64), Graph(torch.tensor(edges), len(points), names)


def artists(figure, kind) -> list:
    return [artist for artist in figure.axes[0].collections if isinstance(artist, kind)]


def test_a_picture_is_drawn_and_saved(tmp_path):
    points, graph = tree()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot_poincare_disk(points, graph)
        figure.savefig(tmp_path / "disk.png")
    assert imread(tmp_path / "disk.png").shape[:2] == (2000, 2000)
    assert len(artists(figure, LineCollection)[0].get_segments()) == len(points) - 1
    assert len(artists(figure, PathCollection)[0].get_offsets()) == len(points)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "node 0" in texts
    assert 20 < len(texts) <= 80


def test_edges_are_circles_orthogonal_to_the_boundary():
    """Such a circle with centre m consists of the points with |p|^2 + 1 = 2 <m, p>."""
    points = PoincareBall(2).random(40, 2, dtype=torch.float64)
    edges = torch.tensor([(i, 0) for i in range(1, 40)])
    figure = plot_poincare_disk(points, Graph(edges, 40), center=torch.zeros(2))
    for segment, (child, parent) in zip(artists(figure, LineCollection)[0].get_segments(), edges.tolist(), strict=True):
        np.testing.assert_allclose(segment[[0, -1]], points[[child, parent]], atol=1e-12)
        ends = segment[[0, -1]]
        centre = np.linalg.solve(2 * ends, (ends**2).sum(1) + 1)
        np.testing.assert_allclose((segment**2).sum(1) + 1, 2 * segment @ centre, rtol=1e-9)


def test_the_top_is_moved_to_the_centre_by_an_isometry():
    points = PoincareBall(2).random(30, 2, dtype=torch.float64)
    figure = plot_poincare_disk(points, Graph(torch.tensor([(i, 7) for i in range(30) if i != 7]), 30))
    arcs = torch.tensor(np.stack(artists(figure, LineCollection)[0].get_segments()))
    torch.testing.assert_close(arcs[:, -1], torch.zeros(29, 2, dtype=torch.float64), atol=1e-12, rtol=0)
    before = PoincareBall(2).dist(points[[i for i in range(30) if i != 7]], points[7])
    torch.testing.assert_close(PoincareBall(2).dist(arcs[:, 0], arcs[:, -1]), before)


def test_another_curvature_fills_the_same_disk():
    points, graph = tree(4)
    one = plot_poincare_disk(points, graph)
    other = plot_poincare_disk(points / 0.5, graph, manifold=PoincareBall(2, c=0.25))
    first, second = (artists(figure, PathCollection)[0].get_offsets() for figure in (one, other))
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_labels_do_not_overlap():
    figure = plot_poincare_disk(*tree())
    inside, outside = [], []
    for text in figure.axes[0].texts:
        (inside if text.get_rotation_mode() == "default" else outside).append(text)
    assert len(inside) > 3
    assert len(outside) > 20
    for a, b in itertools.combinations(inside, 2):
        assert not a.get_window_extent().overlaps(b.get_window_extent())
    angles = sorted(math.atan2(*text.get_position()[::-1]) for text in outside)
    height = inside[0].get_fontsize() / 1.3 / 72 * 200  # pixels; the disk's radius is 1000/1.42 pixels
    assert min(np.diff([*angles, angles[0] + math.tau])) * 1000 / 1.42 > height


def test_spreading_keeps_order_and_distance_and_moves_least():
    wanted = np.sort(np.random.default_rng(0).uniform(0, 1, 12))
    found = _spread(wanted, 0.07)
    assert np.diff(found).min() >= 0.07 - 1e-12
    np.testing.assert_allclose(_spread(wanted * 100, 0.07)[[0, -1]], wanted[[0, -1]] * 100)
    # The optimum of a convex problem: no feasible direction descends.
    random = np.random.default_rng(1)
    for _ in range(200):
        other = np.cumsum(np.concatenate([[random.uniform(-0.5, 0.5)], 0.07 + random.exponential(0.05, 11)]))
        assert (found - wanted) @ (other - found) >= -1e-12


def test_what_cannot_be_drawn_is_refused():
    points, graph = tree(3)
    with pytest.raises(ShapeError, match="embed in 2 dimensions"):
        plot_poincare_disk(torch.zeros(5, 3))
    with pytest.raises(ShapeError, match="expected 13 points, one for each node, but got 12"):
        plot_poincare_disk(points[:-1], graph)
    with pytest.raises(OffManifoldError, match="project with `projx`"):
        plot_poincare_disk(points * 1.1)


def test_points_alone_are_drawn():
    figure = plot_poincare_disk(tree(3)[0])
    assert len(artists(figure, PathCollection)[0].get_offsets()) == 13
    assert not figure.axes[0].texts
