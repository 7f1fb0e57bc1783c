"""The tables of docs/accuracy.md from the records of benchmarks/accuracy.py."""

import json
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["isometry", "torch", "numpy", "mpmath", "geoopt", "hypll", "geomstats", "pymanopt"]
PAIRS = ["dist", "logmap", "transp", "gradient of dist"]
MANIFOLDS = ["PoincareBall", "Lorentz", "Sphere"]
CLOSE = {"1e-6", "1e-3"}
COINCIDENT = "y = x"
ABSOLUTE = {"float32": 2e-7, "float64": 1e-15}
ZERO = "all that is 0 at y = x"
ZEROS = ["dist(x, x)", "gradient of dist(x, x)", "dist2(x, x)", "gradient of dist2(x, x)"]


class Record(NamedTuple):
    """One operation in one cell. An error is infinite where a sample was not finite, outside or refused."""

    manifold: str
    dtype: str
    c: float
    radius: str
    pair: str
    operation: str
    samples: int
    floor: float
    errors: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The record with three digits, and null for infinity, which JSON lacks."""
        errors = {name: float(f"{e:.3g}") if math.isfinite(e) else None for name, e in self.errors.items()}
        return self._asdict() | {"floor": float(f"{self.floor:.3g}"), "errors": errors}


class Target(NamedTuple):
    """A promise: the error of an operation is at most `limit`, or `limit` times its cell's rounding floor."""

    manifold: str
    dtype: str
    operation: str
    limit: float
    of_floor: bool = False

    def covers(self, record: Record) -> bool:
        """Whether the promise is about this record."""
        operations = ZEROS if self.operation == ZERO else [self.operation]
        return (record.manifold, record.dtype) == self[:2] and record.operation in operations

    def ratio(self, record: Record) -> float:
        """The error as a multiple of what is promised."""
        allowed = self.limit * (record.floor if self.of_floor else 1)
        error = record.errors["isometry"]
        return error / allowed if allowed else math.inf if error else 0.0


def targets() -> list[Target]:
    """All promises of the library's accuracy."""
    found = []
    for dtype, limit in ABSOLUTE.items():
        found += [Target("PoincareBall", dtype, name, limit) for name in [*PAIRS, "expmap, coordinates"]]
        found += [Target("Lorentz", dtype, name, 8, True) for name in ("logmap", "transp", "expmap, distance")]
        for manifold in MANIFOLDS:
            found.append(Target(manifold, dtype, "Hessian of dist2(x, x)", limit))
            found.append(Target(manifold, dtype, ZERO, 0))
    found += [Target("Sphere", "float64", name, 1e-15) for name in ("dist", "logmap", "gradient of dist")]
    return sorted(found, key=lambda target: (MANIFOLDS.index(target.manifold), target.dtype))


def environment(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions and machine."""
    found = {
        "python": platform.python_version(),
        "machine": _processor(),
        "threads": str(torch.get_num_threads()),
    }
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def save(name: str, records: Iterable[Record], text: str, packages: Iterable[str] = PACKAGES) -> None:
    """Write the page docs/NAME.md and all its cells, benchmarks/results/NAME.json."""
    rows = ",\n".join(json.dumps(record.as_json()) for record in records)  # one line each, for readable diffs
    results = ROOT / f"benchmarks/results/{name}.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(f'{{"environment": {json.dumps(environment(packages))},\n"records": [\n{rows}\n]}}\n')
    (ROOT / f"docs/{name}.md").write_text(text)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{platform.system()} {platform.machine()}, {names[0] if names else platform.processor()}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines) + "\n"


def show(error: float | None) -> str:
    """An error in one digit."""
    if error is None:
        return ""
    return "fails" if math.isinf(error) else "0" if error == 0 else f"{error:.0e}"


def _place(record: Record) -> str:
    radius = f"r = {record.radius}, " if record.radius else ""
    return f"{radius}{record.pair}, c = {record.c:.3g}"


def _target_table(records: list[Record]) -> str:
    rows = []
    for target in targets():
        worst = max(filter(target.covers, records), key=target.ratio)
        promise = f"{target.limit:g} x floor" if target.of_floor else f"{target.limit:g}"
        met = "yes" if target.ratio(worst) <= 1 else f"**no**, {target.ratio(worst):.2g} times"
        rows.append([*target[:3], promise, f"{worst.errors['isometry']:.1e}", _place(worst), met])
    return table(["manifold", "dtype", "operation", "promise", "error there", "worst place", "kept"], rows)


def error_table(records: list[Record], head: Sequence[str], key: Callable[[Record], Sequence[str]]) -> str:
    """One row per key; the worst error of each column over the records of the row."""
    columns = list(dict.fromkeys(title for r in records for title in r.errors))
    rows: dict[Sequence[str], list[Record]] = {}
    for record in records:
        rows.setdefault(key(record), []).append(record)
    cells = []
    for name, members in rows.items():
        floor = max(r.floor for r in members)
        errors = [max((r.errors[title] for r in members if title in r.errors), default=None) for title in columns]
        cells.append([*name, *map(show, [floor, *errors])])
    return table([*head, "floor", *columns], cells)


def _sections(records: list[Record]) -> Iterable[str]:
    """The tables: for each manifold and dtype one per operation, and one for coincident points."""
    for manifold, dtype in dict.fromkeys((r.manifold, r.dtype) for r in records):
        here = [r for r in records if (r.manifold, r.dtype) == (manifold, dtype)]
        apart = [r for r in here if r.pair != COINCIDENT]
        yield f"## {manifold}, {dtype}\n"
        for operation in dict.fromkeys(r.operation for r in apart):
            yield f"### {operation}\n"
            members = [r for r in apart if r.operation == operation]
            if manifold == "Sphere":
                label = "length" if operation.startswith("expmap") else "angle"
                yield error_table(members, [label], lambda r: (r.pair,))
            elif operation.startswith("expmap"):
                yield error_table(members, ["radius"], lambda r: (r.radius,))
            else:
                yield error_table(members, ["radius", "pairs"], lambda r: (r.radius, _group(r)))
        yield "### at y = x, all radii\n"
        yield error_table([r for r in here if r.pair == COINCIDENT], ["operation"], lambda r: (r.operation,))


def _group(record: Record) -> str:
    return "close" if record.pair in CLOSE else "apart"


TEXT = """# Accuracy

Every number here is an error against 120-digit arithmetic, evaluated **at the rounded inputs**: it is the
implementation's own error, not the input's. `python -m benchmarks.accuracy` draws the inputs, measures and
writes this page; all cells, one by one, are in `benchmarks/results/accuracy.json`. Positive definite matrices,
subspaces, frames, rotations and normal distributions have [a page of their own](accuracy_matrices.md).

How to read it.

- Dimension 5. The radius is the hyperbolic distance of the point from the origin in units of the curvature
  radius; `edge` is the last float below the boundary of the ball (17.3 in float32, 37.4 in float64). Directions
  are isotropic, with some points on a coordinate axis.
- Pairs: `close` are 1e-6 and 1e-3 apart; `apart` are 1 apart, or in independent directions at the same radius
  (far), nearly antipodal, or on one ray at half the radius (radial). At a large radius the grid of the floats is
  coarser than the wanted separation: the pair is then some grid steps apart, or the same point.
- Steps of `expmap` have length 1e-3, 1 or r in an isotropic direction, or lead halfway to the origin (inward).
- A table's cell is the worst over its pairs or steps, over curvatures -1 and -0.37 (-1 alone for a library that
  has no curvature) and over the samples.
- Errors of tangent vectors and gradients are in the Riemannian norm, relative to the true norm; those of
  distances are relative. `expmap, coordinates` is relative in R^n; `expmap, distance` is the distance from the
  answer to the truth. Where the truth is 0 the error is absolute. Answers beyond the ball's range are left out.
- On the hyperboloid the point *is* its spatial part, on the sphere its direction; the component that a
  constraint determines is not counted as an error, neither ours nor a peer's.
- `floor` is the error of the exact answer rounded to the dtype: no code does better. `fails`: at least one
  sample was not finite, outside the ball, or refused. Empty: the library does not offer it.
- float32 is computed in float64 inside unless `upcast=False`, which has a column of its own.
- A transport that is a projection (geoopt and pymanopt on the sphere) differs from the parallel transport by
  construction, not by rounding.
- Gradients are autograd's, converted exactly. The Hessian is in the coordinates of the ball, in the spatial part
  of the hyperboloid, in a tangent frame of the sphere.
"""


def markdown(records: list[Record]) -> str:
    """The page."""
    versions = ", ".join(f"{name} {value}" for name, value in environment().items())
    promises = f"## Promises\n\nThe worst cell of every promise, as measured.\n\n{_target_table(records)}"
    return "\n".join([TEXT, f"Measured with: {versions}.\n", promises, *_sections(records)])
