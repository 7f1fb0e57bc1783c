"""The inputs of benchmarks/accuracy_matrices.py, and the operations that it measures on them."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.accuracy_cases import Cell, Operation, Operations, gradient, length, number
from benchmarks.accuracy_matrices_exact import GEOMETRIES, SPD_METRICS, N
from benchmarks.accuracy_report import COINCIDENT
from tests.manifolds.reference import MP, Vector, vector
from tests.manifolds.spd_cases import pair as spd_pair
from tests.manifolds.spd_cases import spd

CONDITIONS = {torch.float32: ["1e1", "1e4"], torch.float64: ["1e1", "1e4", "1e8", "1e12"]}
SEPARATIONS = ["1e-6", "1e-3", "1", "far"]
LENGTHS = {
    "Grassmann": ["1e-8", "1e-6", "1e-3", "1", "pi/2-1e-3", "pi/2-1e-6", "pi/2-1e-8"],
    "StiefelCanonical": ["1e-6", "1e-3", "1", "2"],
    "StiefelEuclidean": ["1e-6", "1e-3", "1", "2"],
    "SpecialOrthogonal": ["1e-8", "1e-6", "1e-3", "1", "3", "pi-1e-3", "pi-1e-6"],
    "DiagonalGaussian": ["1e-6", "1e-3", "1", "10"],
}
FLOAT64_ALONE = {"1e-8", "pi/2-1e-8"}  # float32 rounds these to 0 and to the cut locus


class PairSampler:
    """Draws pairs of points and rounds them to a dtype; the truth is that of the rounded ones."""

    c = 1.0  # the records have a curvature, and these spaces no choice of one

    def __init__(self, space: str, dtype: torch.dtype, samples: int) -> None:
        self.space, self.dtype, self.samples = space, dtype, samples
        self.ref = GEOMETRIES[space](space)

    def in_range(self, x: Vector) -> bool:
        """Whether an exact point lies in the documented range: all of these do."""
        return True

    def rounded(self, x: Vector) -> Tensor:
        """The floats nearest to an exact vector."""
        return torch.tensor([float(value) for value in x], dtype=torch.float64).to(self.dtype)

    def cell(self, place: str, pair: str, draw: Callable[[int], tuple[Tensor, Tensor]], operations: Operations) -> Cell:
        """Samples of `draw` at the seeds 0, 1, ..., rounded, with the tangent vector that leads halfway from x to y."""
        floats, exact = [], []
        for seed in range(self.samples):
            x, y = (point.to(self.dtype) for point in draw(seed))
            start, end = (self.ref.point(vector(point.flatten())) for point in (x, y))
            v = self.rounded(start * 0 if pair == COINCIDENT else self.ref.logmap(start, end) / 2)
            floats.append((x, y, v.reshape(x.shape)))
            exact.append((start, end, self.ref.tangent(start, vector(v))))
        xs, ys, vs = (torch.stack(column) for column in zip(*floats, strict=True))
        return Cell(place, pair, xs, ys, vs, exact, operations)

    def step(self, label: str, seed: int) -> tuple[Tensor, Tensor]:
        """A random point and another at this distance, or with this largest angle to it."""
        m, generator = self.ref.manifold, torch.Generator().manual_seed(seed)
        x = m.random(*m.point_shape, generator=generator, dtype=torch.float64)
        u = m.proju(x, torch.randn(m.point_shape, generator=generator, dtype=torch.float64))
        by_angle = self.space in ("Grassmann", "SpecialOrthogonal")
        size = torch.linalg.matrix_norm(u, 2) if by_angle else m.norm(x, u)
        wanted = MP.pi / 2 - MP.mpf(label[5:]) if label.startswith("pi/2-") else length(label)
        return x, m.expmap(x, u * (float(wanted) / size))


def cells(sampler: PairSampler, quick: bool) -> Iterator[Cell]:
    """All cells of a space, or a few."""
    if sampler.space in SPD_METRICS:
        yield from _spd_cells(sampler, quick)
        return
    labels = [label for label in LENGTHS[sampler.space] if sampler.dtype == torch.float64 or label not in FLOAT64_ALONE]
    for label in labels[::2] if quick else labels:
        yield sampler.cell("", label, partial(sampler.step, label), pair_operations(sampler.space))
    yield sampler.cell("", COINCIDENT, lambda seed: sampler.step("1", seed)[:1] * 2, COINCIDENT_OPERATIONS)


def _spd_cells(sampler: PairSampler, quick: bool) -> Iterator[Cell]:
    conditions = CONDITIONS[sampler.dtype]
    for condition in conditions[::2] if quick else conditions:
        for label in SEPARATIONS[::3] if quick else SEPARATIONS:
            separation = None if label == "far" else float(label)
            draw = partial(spd_pair, float(condition), separation, n=N)
            yield sampler.cell(condition, label, draw, pair_operations(sampler.space))
    yield sampler.cell("1", COINCIDENT, lambda seed: (torch.eye(N), torch.eye(N)), COINCIDENT_OPERATIONS)
    for condition in conditions:
        twice = partial(_twice, float(condition))
        yield sampler.cell(condition, COINCIDENT, twice, COINCIDENT_OPERATIONS)


def _twice(condition: float, seed: int) -> tuple[Tensor, Tensor]:
    x = spd(condition, seed, N)
    return x, x


def pair_operations(space: str) -> Operations:
    """What is measured at two points. The distance of frames is no closed form, and their exp is judged by entries."""
    entries = space.startswith("Stiefel")
    exp = Operation(
        "array" if entries else "point",
        lambda m, x, y, v: m.expmap(x, v).flatten(1),
        lambda r, x, y, v: r.expmap(x, v),
    )
    return PAIR_OPERATIONS | {"expmap, coordinates" if entries else "expmap, distance": exp}


PAIR_OPERATIONS = {
    "dist": Operation(
        "array", lambda m, x, y, v: m.dist(x, y).reshape(-1, 1), lambda r, x, y, v: number(r.dist(x, y))
    ),
    "logmap": Operation(
        "vector at x", lambda m, x, y, v: m.logmap(x, y).flatten(1), lambda r, x, y, v: r.logmap(x, y)
    ),
    "gradient of dist": Operation(
        "gradient", lambda m, x, y, v: gradient(m.dist, x, y).flatten(1), lambda r, x, y, v: r.dist_rgrad(x, y)
    ),
}  # fmt: skip
COINCIDENT_OPERATIONS = {
    "dist(x, x)": Operation(
        "array", lambda m, x, y, v: m.dist(x, y).reshape(-1, 1), lambda r, x, y, v: number(0)
    ),
    "gradient of dist(x, x)": Operation(
        "gradient", lambda m, x, y, v: gradient(m.dist, x, y).flatten(1), lambda r, x, y, v: x * 0
    ),
}  # fmt: skip
