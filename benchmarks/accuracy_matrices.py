"""Measure matrix manifolds and their peers against multiprecision arithmetic, by condition, distance and angle.

    python -m benchmarks.accuracy_matrices            # writes docs/accuracy_matrices.md and its JSON in results/
    python -m benchmarks.accuracy_matrices --quick    # a few cells, printed only

The measurement is that of benchmarks/accuracy.py: the truth is that of the rounded inputs.
"""

import argparse
import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch

from benchmarks.accuracy import DTYPES, measure
from benchmarks.accuracy_matrices_cases import COINCIDENT_OPERATIONS, CONDITIONS, PairSampler, cells
from benchmarks.accuracy_matrices_exact import GEOMETRIES, SPD_METRICS
from benchmarks.accuracy_matrices_peers import implementations
from benchmarks.accuracy_report import COINCIDENT, Record, environment, error_table, save, show, table

PACKAGES = ["isometry", "torch", "numpy", "mpmath", "geoopt", "spd-learn", "pyriemann", "geomstats", "pymanopt"]


class Promise(NamedTuple):
    """The error of the records with these fields is at most `limit`."""

    what: str
    limit: float
    fields: dict[str, str]

    def covers(self, record: Record) -> bool:
        """Whether the promise is about this record."""
        return all(getattr(record, name) == value for name, value in self.fields.items())


def promises() -> Iterator[Promise]:
    """All promises of accuracy; those of pairs are about float64."""
    for space in GEOMETRIES:
        here, close = {"manifold": space}, {"manifold": space, "dtype": "float64", "pair": "1e-6", "operation": "dist"}
        if space in SPD_METRICS:
            for condition in CONDITIONS[torch.float64]:
                yield Promise(f"dist, 1e-6 apart, condition {condition}", 1e-12, close | {"radius": condition})
        else:
            yield Promise("dist, 1e-6 apart", 1e-12, close)
        if space == "SPDAffineInvariant":
            yield Promise("dist, every pair, condition 1e8", 1e-9, here | {"radius": "1e8", "operation": "dist"})
        for operation in COINCIDENT_OPERATIONS:
            yield Promise(operation, 0, here | {"operation": operation})


def run(quick: bool) -> Iterator[Record]:
    """All records."""
    for space in GEOMETRIES:
        for dtype in DTYPES:
            sampler = PairSampler(space, dtype, samples=2 if quick else 10)
            contenders = implementations(space, dtype)
            for cell in cells(sampler, quick):
                yield from measure(sampler, cell, contenders)


def _promise_table(records: list[Record]) -> str:
    rows = []
    for promise in promises():
        covered = list(filter(promise.covers, records))
        if not covered:  # in a quick run
            continue
        place = max(covered, key=lambda r: r.errors["isometry"])
        error = place.errors["isometry"]
        titles = {title for r in covered for title in r.errors if not title.startswith("isometry")}
        peers = [(max(r.errors[title] for r in covered if title in r.errors), title) for title in sorted(titles)]
        best, name = min(peers, default=(None, ""))
        peer = "all fail" if best is not None and math.isinf(best) else f"{show(best)} {name}".strip()
        at = f"{place.dtype}, {place.pair}" if error else "everywhere"
        kept = "yes" if error <= promise.limit else "**no**"
        rows.append([place.manifold, promise.what, f"{promise.limit:g}", f"{error:.1e}", at, peer, kept])
    return table(["manifold", "what", "promise", "worst error", "at", "best peer on the same", "kept"], rows)


def _failure_table(records: list[Record]) -> str:
    """How many records of each manifold have a sample that fails."""
    columns = list(dict.fromkeys(title for r in records for title in r.errors))
    rows = []
    for manifold in dict.fromkeys(r.manifold for r in records):
        errors = {
            title: [r.errors[title] for r in records if r.manifold == manifold and title in r.errors]
            for title in columns
        }
        counts = [f"{sum(map(math.isinf, e))} of {len(e)}" if e else "" for e in errors.values()]
        rows.append([manifold, *counts, "**no**" if any(map(math.isinf, errors["isometry"])) else "yes"])
    return table(["manifold", *columns, "kept"], rows)


def _sections(records: list[Record]) -> Iterator[str]:
    """The tables: for each manifold and dtype one per operation, and one for coincident points."""
    for manifold, dtype in dict.fromkeys((r.manifold, r.dtype) for r in records):
        here = [r for r in records if (r.manifold, r.dtype) == (manifold, dtype)]
        spd = manifold in SPD_METRICS
        yield f"## {manifold}, {dtype}\n"
        for operation in dict.fromkeys(r.operation for r in here if r.pair != COINCIDENT):
            members = [r for r in here if r.operation == operation]
            yield f"### {operation}\n"
            if spd:
                yield error_table(members, ["condition", "apart"], lambda r: (r.radius, r.pair))
            else:
                yield error_table(members, ["apart"], lambda r: (r.pair,))
        yield "### at y = x\n"
        members = [r for r in here if r.pair == COINCIDENT]
        if spd:
            yield error_table(members, ["operation", "condition"], lambda r: (r.operation, r.radius))
        else:
            yield error_table(members, ["operation"], lambda r: (r.operation,))


TEXT = """# Accuracy of the matrix manifolds

Every number here is an error against 40- to 120-digit arithmetic, evaluated **at the rounded inputs**, as in
[accuracy](accuracy.md). `python -m benchmarks.accuracy_matrices` draws the inputs, measures and writes this page;
all cells, one by one, are in `benchmarks/results/accuracy_matrices.json` (`radius` there is the condition number).
The references are those of the tests, `tests/manifolds/reference_*.py`.

How to read it.

- Sizes: 4 x 4 positive definite matrices; `Grassmann(6, 2)`, `Stiefel(4, 2)`, `SpecialOrthogonal(4)` and one normal
  variable. A cell is the worst of ten samples.
- Positive definite matrices have eigenvalues from the condition's `-1/2`th power to its `1/2`th, evenly spaced in the
  logarithm, in a random basis. `far` pairs are two such matrices; the others are `apart` by `|L^-1 (y - x) L^-T|` with
  `x = L L^T`, about their affine-invariant distance, as far as the format resolves it: at condition 1e12 rounding alone
  moves a matrix by some 1e-4. In float32 matrices end at condition 1e4: at 1e8 rounding makes them indefinite.
- Other pairs lie `apart` by a distance (`Stiefel`, `DiagonalGaussian`) or by the largest angle (`Grassmann`,
  `SpecialOrthogonal`), up to just before the cut locus. Floats stand for the frame or rotation nearest to them.
- `dist` is relative, `logmap` in the Riemannian norm, relative to the distance. `gradient of dist` is autograd's; its
  Riemannian gradient is compared with `-log_x(y)/d`, which it is by the first variation of length, and whose norm is 1.
- At `y = x` the truth is 0 and errors are absolute. Condition 1 is the identity, where eigenvalues repeat. An error of
  1 in the gradient is a unit vector of rounding noise.
- `expmap` leads halfway from x to y. `expmap, distance` is the distance from the answer to the truth in the same
  metric; `expmap, coordinates` is relative in the entries.
- `floor` is the error of the exact answer rounded to the dtype. In the metric, rounding a matrix of condition k costs
  up to k eps.
- `fails`: at least one sample was not finite, not positive definite, or refused. Empty: the library does not offer it.
- float32 is computed in float64 inside for positive definite matrices, unless `upcast=False`, which has a column of its
  own.
- geomstats runs on PyTorch, for subspaces with projectors; pymanopt has no derivatives. Metrics that are a multiple of
  ours are scaled.
"""
LIMITS = """Where a promise is not kept, or nearly:

- A stable factorization errs as if the entries had errors of eps, and at condition k these move a matrix by k eps in
  the affine-invariant, log-Euclidean and log-Cholesky metrics. The relative error of a short distance is of that order
  too, and not that divided by the distance, as it is for peers. So the affine-invariant distance at condition 1e8 is
  within some 1e-10 for most pairs, and beyond 1e-9 for a few in a hundred.
- A frame of floats is orthonormal only up to rounding, which moves its subspace by some eps. `Grassmann` therefore
  resolves short distances to `eps/d` only.
- `SpecialOrthogonal` in float32 and within 1e-6 (8 eps) of the cut locus: an answer may lead the other way round, which
  is as short up to rounding. Its error in `logmap` and in the gradient is then 2.
"""


def markdown(records: list[Record]) -> str:
    """The page."""
    versions = ", ".join(f"{name} {value}" for name, value in environment(PACKAGES).items())
    return "\n".join(
        [
            TEXT,
            f"Measured with: {versions}.\n",
            f"## Promises\n\nThe worst over the cells of every promise.\n\n{_promise_table(records)}",
            f"Never NaN: the cells in which a sample fails.\n\n{_failure_table(records)}",
            LIMITS,
            *_sections(records),
        ]
    )


def main() -> None:
    """Run the measurement and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few cells, printed and not saved")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # peers warn of deprecations and overflows; ours are errors in the tests
    records = list(run(quick))
    text = markdown(records)
    if quick:
        print(text)
        return
    save("accuracy_matrices", records, text, PACKAGES)


if __name__ == "__main__":
    main()
