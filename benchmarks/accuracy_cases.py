"""The inputs of benchmarks/accuracy.py, and the operations that it measures on them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from tests.manifolds import reference
from tests.manifolds.reference import MP, Real, Vector, vector

DIM = 5
RADII = [0.01, 0.1, 1, 5, 10, 15, 20, 30]
PAIRS = ["1e-6", "1e-3", "1", "far", "antipodal", "radial"]
ANGLES = ["1e-8", "1e-6", "1e-3", "1", "pi/2", "3", "pi-1e-3", "pi-1e-6", "pi-1e-8"]

Implementation: TypeAlias = Any  # has the methods of a Manifold
Exact: TypeAlias = tuple[Vector, Vector, Vector]  # two points and a tangent vector at the first


@dataclass(frozen=True)
class Operation:
    """What is evaluated, its truth, and what kind of thing both are.

    Kinds: "array" (any numbers), "point", "vector at x", "vector at y", and "gradient" (a Euclidean gradient
    at x, whose truth is the Riemannian one).
    """

    kind: str
    evaluate: Callable[[Implementation, Tensor, Tensor, Tensor], Tensor]
    truth: Callable[[Any, Vector, Vector, Vector], Vector]


Operations: TypeAlias = dict[str, Operation]


@dataclass(frozen=True)
class Cell:
    """Samples of one kind: the floats for the code under test, and the exact inputs that they stand for."""

    radius: str
    pair: str
    x: Tensor
    y: Tensor
    v: Tensor
    exact: list[Exact]
    operations: Operations


class Source(Protocol):
    """What the measurement asks of a sampler: the exact geometry, its rounding and its range."""

    space: str
    dtype: torch.dtype
    c: float
    ref: Any

    def in_range(self, x: Vector) -> bool:
        """Whether an exact point lies in the documented range."""

    def rounded(self, x: Vector) -> Tensor:
        """The floats nearest to an exact vector."""


class Sampler:
    """Draws isotropic points and tangent vectors in exact arithmetic and rounds them to a dtype.

    Radii, separations and lengths are in units of the curvature radius.
    """

    def __init__(self, space: str, c: float, dtype: torch.dtype, samples: int) -> None:
        self.space, self.c, self.dtype, self.samples = space, c, dtype, samples
        self.ref: Any = reference.Sphere() if space == "Sphere" else getattr(reference, space)(c)
        self.unit = 1 / MP.sqrt(MP.convert(c))
        self.origin = self.ref.origin(DIM)
        self.rng = np.random.default_rng(0)
        # The ball's documented range ends at the last float below 1, which lies at the distance `edge`.
        self.last = 1 - MP.mpf(torch.finfo(dtype).eps) / 2
        self.edge = 2 * MP.atanh(self.last)

    def angles(self) -> list[str]:
        """The angles that the dtype can tell from 0 and pi."""
        eps = torch.finfo(self.dtype).eps
        return [label for label in ANGLES if eps < length(label) < MP.pi - eps]

    def in_range(self, x: Vector) -> bool:
        """Whether an exact point lies in the documented range."""
        return self.space != "PoincareBall" or bool(self.ref.c * (x @ x) <= self.last**2)

    def rounded(self, x: Vector) -> Tensor:
        """The floats nearest to an exact vector."""
        return torch.tensor([float(value) for value in x], dtype=torch.float64).to(self.dtype)

    def cell(self, radius: str, pair: str, draw: Callable[[], Exact], operations: Operations) -> Cell:
        """Samples of `draw`, rounded, and the exact inputs that the rounded ones stand for."""
        floats, exact = [], []
        for _ in range(self.samples):
            x, y, v = draw()
            row = (self._rounded_point(x), self._rounded_point(y), self.rounded(v))
            at = self.ref.point(row[0])
            floats.append(row)
            exact.append((at, self.ref.point(row[1]), self.ref.tangent(at, row[2])))
        xs, ys, vs = (torch.stack(column) for column in zip(*floats, strict=True))
        return Cell(radius, pair, xs, ys, vs, exact, operations)

    def _rounded_point(self, x: Vector) -> Tensor:
        floats = self.rounded(x)
        while not self.in_range(vector(floats)):
            x = x * self.last
            floats = self.rounded(x)
        return floats

    def direction(self, at: Vector) -> Vector:
        """A random tangent vector of length 1, isotropic in the metric."""
        u = self.ref.tangent(self.origin, self.rng.standard_normal(len(self.origin)))
        return self.ref.transp(self.origin, at, u * (self.unit / self.ref.norm(self.origin, u)))

    def at_radius(self, radius: Real) -> Vector:
        """A random point at this distance from the origin, some on a coordinate axis; anywhere on a sphere."""
        if self.space == "Sphere":
            return self.ref.point(self.rng.standard_normal(DIM + 1))
        u = self.direction(self.origin)
        if self.rng.integers(4) == 0:
            axis = vector(np.eye(len(u))[-1])
            u = axis * (self.unit / self.ref.norm(self.origin, axis))
        return self.ref.expmap(self.origin, u * radius)

    def pair(self, radius: Real, kind: str) -> Exact:
        """A point at the given radius, a partner of the given kind, and a direction at the first."""
        x = self.at_radius(radius)
        if kind == "far":
            y = self.at_radius(radius)
        elif kind == "antipodal":
            off = self.direction(self.origin) * (radius / 1000)
            y = self.ref.expmap(self.origin, off - self.ref.logmap(self.origin, x))
        elif kind == "radial":
            y = self.ref.expmap(self.origin, self.ref.logmap(self.origin, x) / 2)
        else:
            y = self.ref.expmap(x, self.direction(x) * length(kind))
        return x, y, self.direction(x)

    def step(self, radius: Real, size: Real) -> Exact:
        """A point at the given radius, itself, and a tangent vector of the given length."""
        x = self.at_radius(radius)
        return x, x, self.direction(x) * size

    def inward(self, radius: Real) -> Exact:
        """A point at the given radius, itself, and the vector that leads halfway to the origin."""
        x = self.at_radius(radius)
        return x, x, self.ref.logmap(x, self.origin) / 2


def length(label: str) -> Real:
    """The number that a label such as 1e-3 or pi-1e-3 names."""
    if label == "pi/2":
        return MP.pi / 2
    return MP.pi - MP.mpf(label[3:]) if label.startswith("pi-") else MP.mpf(label)


def cells(sampler: Sampler, quick: bool) -> Iterator[Cell]:
    """All cells of a space, or a few."""
    sphere = sampler.space == "Sphere"
    pairs, steps = (sampler.angles(), ["1e-3", "1", "3"]) if sphere else (PAIRS, ["1e-3", "1", "r"])
    radii: dict[str, Real] = {"": 0} if sphere else {str(r): r for r in ([1, 10] if quick else RADII)}
    if sampler.space == "PoincareBall":
        radii = {label: r for label, r in radii.items() if r < sampler.edge} | {"edge": sampler.edge}
    for label, radius in radii.items():
        for kind in pairs[::3] if quick else pairs:
            yield sampler.cell(label, kind, partial(sampler.pair, radius, kind), PAIR_OPERATIONS)
        for name in steps:
            size = radius if name == "r" else length(name)
            yield sampler.cell(label, f"length {name}", partial(sampler.step, radius, size), STEP_OPERATIONS)
        if not sphere:
            yield sampler.cell(label, "inward", partial(sampler.inward, radius), STEP_OPERATIONS)
        yield sampler.cell(label, "y = x", partial(sampler.step, radius, 1), coincident_operations(sampler))


def gradient(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The derivative by x of a function of pairs of points."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x, y).sum(), x)[0]


def number(value: Real) -> Vector:
    """A vector of one number."""
    return vector([value])


PAIR_OPERATIONS = {
    "dist": Operation(
        "array", lambda m, x, y, v: m.dist(x, y).unsqueeze(-1), lambda r, x, y, v: number(r.dist(x, y))
    ),
    "logmap": Operation(
        "vector at x", lambda m, x, y, v: m.logmap(x, y), lambda r, x, y, v: r.logmap(x, y)
    ),
    "transp": Operation(
        "vector at y", lambda m, x, y, v: m.transp(x, y, v), lambda r, x, y, v: r.transp(x, y, v)
    ),
    "gradient of dist": Operation(
        "gradient",
        lambda m, x, y, v: gradient(m.dist, x, y),
        lambda r, x, y, v: r.egrad2rgrad(x, r.dist_egrad(x, y)),
    ),
}  # fmt: skip
STEP_OPERATIONS = {
    "expmap, coordinates": Operation(
        "array", lambda m, x, y, v: m.expmap(x, v), lambda r, x, y, v: r.expmap(x, v)
    ),
    "expmap, distance": Operation(
        "point", lambda m, x, y, v: m.expmap(x, v), lambda r, x, y, v: r.expmap(x, v)
    ),
}  # fmt: skip


def coincident_operations(sampler: Sampler) -> Operations:
    """What is measured at y = x: the distance and its square, their gradients, all 0, and a Hessian."""
    hessian = Operation(
        "array",
        lambda m, x, y, v: dist2_hessian(sampler, m, x),
        lambda r, x, y, v: twice_metric(sampler, x),
    )
    return _zeros("dist") | _zeros("dist2") | {"Hessian of dist2(x, x)": hessian}


def _zeros(name: str) -> Operations:
    value = Operation(
        "array",
        lambda m, x, y, v: getattr(m, name)(x, x).unsqueeze(-1),
        lambda r, x, y, v: number(0),
    )
    slope = Operation(
        "gradient",
        lambda m, x, y, v: gradient(getattr(m, name), x, x),
        lambda r, x, y, v: x * 0,
    )
    return {f"{name}(x, x)": value, f"gradient of {name}(x, x)": slope}


def chart(sampler: Sampler, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The coordinates of x in a chart around it, and the map from coordinates to points."""
    if sampler.space == "PoincareBall":
        return x, lambda a: a
    if sampler.space == "Lorentz":
        return x[:, 1:], lambda a: torch.cat([(1 / sampler.c + (a * a).sum(-1, keepdim=True)).sqrt(), a], -1)
    identity = torch.eye(DIM + 1, dtype=x.dtype).expand(len(x), -1, -1)
    frame = torch.linalg.qr(torch.cat([x.unsqueeze(-1), identity], -1)).Q[..., 1:]
    return torch.zeros_like(x[:, 1:]), lambda a: torch.nn.functional.normalize(
        x + (frame @ a.unsqueeze(-1)).squeeze(-1), dim=-1
    )


def dist2_hessian(sampler: Sampler, implementation: Implementation, x: Tensor) -> Tensor:
    """The Hessian of `dist2(., x)` at x in the chart, flattened."""
    coordinates, to_point = chart(sampler, x.double())  # the chart's own rounding should not count
    a = coordinates.clone().requires_grad_()
    squared = implementation.dist2(to_point(a).to(x.dtype), x)
    slope = torch.autograd.grad(squared.sum(), a, create_graph=True)[0]
    return torch.cat([torch.autograd.grad(s, a, retain_graph=True)[0] for s in slope.sum(0)], -1)


def twice_metric(sampler: Sampler, x: Vector) -> Vector:
    """The exact Hessian of `dist2(., x)` at x in the chart, twice the metric, flattened."""
    metric = vector(np.eye(DIM).flatten()).reshape(DIM, DIM) * 2
    if sampler.space == "PoincareBall":
        metric = metric * sampler.ref.conformal_factor(x) ** 2
    if sampler.space == "Lorentz":
        metric = metric - np.outer(x[1:], x[1:]) * (2 / x[0] ** 2)
    return metric.flatten()
