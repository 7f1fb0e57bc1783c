"""Measure the accuracy of isometry's manifolds and of their peers against 120-digit arithmetic.

    python -m benchmarks.accuracy            # writes docs/accuracy.md and benchmarks/results/accuracy.json
    python -m benchmarks.accuracy --quick    # a few cells, printed only

Inputs are drawn in high precision and rounded to the dtype; the truth is computed AT THE ROUNDED INPUTS
by tests/manifolds/reference.py, so that an error is the implementation's own. Beside it stands the rounding
floor: the error of the exact answer rounded to the dtype. Both are the worst over the samples of a cell.
"""

import argparse
import itertools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.accuracy_cases import DIM, Cell, Implementation, Operation, Sampler, Source, cells
from benchmarks.accuracy_peers import implementations
from benchmarks.accuracy_report import MANIFOLDS, Record, markdown, save
from tests.manifolds.reference import MP, PoincareBall, Vector, vector

DTYPES = [torch.float32, torch.float64]
# The second one is no power of 4, so that its root is not exact, and is the same number in both dtypes.
CURVATURES = [1.0, float(np.float32(0.37))]


def error(ref: Any, kind: str, x: Vector, y: Vector, answer: Vector, truth: Vector) -> float:
    """The error relative to the truth; a distance for points; absolute where the truth is 0."""
    if not all(MP.isfinite(value) for value in answer):
        return float("inf")
    if kind == "point":
        if isinstance(ref, PoincareBall) and ref.c * (answer @ answer) >= 1:
            return float("inf")
        return float(ref.dist(ref.point(answer), truth))
    if kind == "array":
        difference, size = MP.norm(list(answer - truth)), MP.norm(list(truth))
    else:
        at = y if kind == "vector at y" else x
        read = ref.egrad2rgrad if kind == "gradient" else ref.tangent
        difference, size = ref.norm(at, read(at, answer) - truth), ref.norm(at, truth)
    return float(difference / size if size else difference)


def evaluate(title: str, contender: Implementation, operation: Operation, cell: Cell) -> Tensor | None:
    """The answers, or None where a library does not offer the operation."""
    try:
        return operation.evaluate(contender, cell.x, cell.y, cell.v).detach()
    except NotImplementedError:
        return None
    except Exception:
        if title.startswith("isometry"):
            raise
        return torch.full((len(cell.x), DIM), float("nan"))  # a peer that refuses its input


def measure(sampler: Source, cell: Cell, contenders: dict[str, Implementation]) -> Iterator[Record]:
    """The worst errors of every operation of a cell, over the samples whose truth the dtype can hold."""
    for name, operation in cell.operations.items():
        truths = {i: operation.truth(sampler.ref, *sample) for i, sample in enumerate(cell.exact)}
        if name.startswith("expmap"):
            truths = {i: truth for i, truth in truths.items() if sampler.in_range(truth)}
        if not truths:
            continue

        def worst(answers: Mapping[int, Tensor], kind: str, truths: dict[int, Vector] = truths) -> float:
            return max(
                error(sampler.ref, kind, *cell.exact[i][:2], vector(answers[i]), truth) for i, truth in truths.items()
            )

        # A true gradient is a tangent vector already.
        floor_kind = "vector at x" if operation.kind == "gradient" else operation.kind
        floor = worst({i: sampler.rounded(truth) for i, truth in truths.items()}, floor_kind)
        answers = {title: evaluate(title, m, operation, cell) for title, m in contenders.items()}
        errors = {
            title: worst(dict(enumerate(rows)), operation.kind) for title, rows in answers.items() if rows is not None
        }
        dtype = str(sampler.dtype).removeprefix("torch.")
        place = (sampler.space, dtype, sampler.c, cell.radius, cell.pair)
        yield Record(*place, operation=name, samples=len(truths), floor=floor, errors=errors)


def run(quick: bool) -> Iterator[Record]:
    """All records."""
    for space in MANIFOLDS:
        for dtype, c in itertools.product(DTYPES, [1.0] if space == "Sphere" else CURVATURES):
            sampler = Sampler(space, c, dtype, samples=3 if quick else 24)
            contenders = implementations(space, DIM, c, dtype)
            for cell in cells(sampler, quick):
                yield from measure(sampler, cell, contenders)


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
    save("accuracy", records, text)


if __name__ == "__main__":
    main()
