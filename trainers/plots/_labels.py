"""Readable names for the nodes of a hierarchy in the unit disk."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from isometry.trainers.plots._hierarchy import Hierarchy

Array = npt.NDArray[np.float64]

_FONT_SIZE = 8.0
_LONGEST = 18
_RIM = 0.9
"""Points farther out are labelled outside the disk."""
_SIDES: tuple[dict[str, Any], ...] = (
    {"xytext": (7, 0), "ha": "left", "va": "center"},
    {"xytext": (-7, 0), "ha": "right", "va": "center"},
    {"xytext": (0, 7), "ha": "center", "va": "bottom"},
    {"xytext": (0, -7), "ha": "center", "va": "top"},
)


def draw_labels(
    axes: Axes, x: Array, names: Sequence[str], hierarchy: Hierarchy, colors: Sequence[str], limit: int
) -> None:
    """Name the largest subtrees, where there is room: beside a point well inside the disk, else around its rim.

    Args:
        axes: Where the unit disk is drawn.
        x: Points ``[n, 2]`` of the disk.
        names: The points' names.
        hierarchy: Tells which points matter most.
        colors: The points' colours.
        limit: Name at most so many points.
    """
    landmarks = hierarchy.landmarks()
    radius = np.hypot(x[:, 0], x[:, 1])
    inside = [i for i in landmarks if radius[i] < _RIM][:limit]
    pixel = float(np.ptp(axes.get_xlim())) / axes.get_window_extent().width
    line = 1.25 * _FONT_SIZE / 72 * axes.figure.dpi * pixel
    angles = _room_on_rim([i for i in landmarks if radius[i] >= _RIM], x, line, limit - len(inside))
    for i, angle in angles.items():
        weight = "bold" if hierarchy.sizes[i] > len(x) / 40 else "normal"
        _label_outside(axes, x[i], angle, _readable(names[i]), colors[i], weight)
    boxes: list[Bbox] = []
    for i in inside:
        _label_inside(axes, x[i], _readable(names[i]), colors[i], boxes)


def _readable(name: str) -> str:
    """Return the name without WordNet's suffix, such as ``.n.01``, and not longer than the margin is wide."""
    name = re.sub(r"\.[nvasr]\.\d+$", "", name).replace("_", " ")
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _dark(color: str) -> tuple[float, float, float]:
    red, green, blue = to_rgb(color)
    return 0.8 * red, 0.8 * green, 0.8 * blue


def _label_inside(axes: Axes, at: Array, name: str, color: str, boxes: list[Bbox]) -> None:
    """Write the name right, left, above or below its point, where it meets no other; else leave it out."""
    halo = [withStroke(linewidth=3, foreground="white", alpha=0.85)]
    style: dict[str, Any] = {
        "color": _dark(color),
        "fontsize": 1.3 * _FONT_SIZE,
        "fontweight": "bold",
        "path_effects": halo,
    }
    for side in _SIDES:
        text = axes.annotate(name, (at[0], at[1]), textcoords="offset points", zorder=4, **side, **style)
        box = text.get_window_extent()
        if not any(box.overlaps(other) for other in boxes):
            boxes.append(box)
            return
        text.remove()


def _label_outside(axes: Axes, at: Array, angle: float, name: str, color: str, weight: str) -> None:
    """Write the name along the ray at ``angle``, with a line to its point."""
    own, ray = at / np.hypot(*at), np.array([math.cos(angle), math.sin(angle)])
    axes.plot(*np.stack([at, 1.012 * own, 1.04 * ray]).T, color=color, linewidth=0.5, alpha=0.8, zorder=3)
    flipped = ray[0] < 0
    axes.text(
        1.05 * ray[0],
        1.05 * ray[1],
        name,
        color=_dark(color),
        fontsize=_FONT_SIZE,
        fontweight=weight,
        rotation=math.degrees(angle) + 180 * flipped,
        rotation_mode="anchor",
        ha="right" if flipped else "left",
        va="center",
        zorder=4,
    )


def _room_on_rim(nodes: Sequence[int], x: Array, line: float, limit: int) -> dict[int, float]:
    """Return the angles at which nodes are labelled around the rim, the first ones first, as far as there is room.

    Labels are a ``line`` apart and at most three lines away from their points.
    """
    placed: dict[int, float] = {}
    for node in nodes:
        if len(placed) == limit:
            break
        own = {i: math.atan2(x[i, 1], x[i, 0]) for i in (*placed, node)}
        order = sorted(own, key=lambda i: own[i])
        wanted = np.array([own[i] for i in order])
        angles = _spread(wanted, line)
        if max(abs(angles - wanted)) < 3 * line and angles[0] + math.tau - angles[-1] >= line:
            placed = dict(zip(order, angles.tolist(), strict=True))
    return placed


def _spread(angles: Array, gap: float) -> Array:
    """Return the positions nearest to the sorted ``angles`` that are at least ``gap`` apart, in the same order.

    Least squares by pooling adjacent violators.
    """
    blocks: list[tuple[float, int]] = []
    for i, angle in enumerate(angles):
        mean, count = angle - i * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, others = blocks.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        blocks.append((mean, count))
    means, counts = zip(*blocks, strict=True)
    return np.repeat(means, counts) + gap * np.arange(len(angles))
