"""Steps of the Riemannian optimizers beside geoopt's, and beside torch's in flat space, the price of memory traffic.

Every contestant steps the same points with the same gradients. They take turns in one process on one thread; a
round gives one ratio of process CPU times, and the median over rounds is reported.

    python -m benchmarks.optimizers           # writes benchmarks/results/optimizers.json
"""

import argparse
import itertools
import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import geoopt
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from benchmarks.embedding_race import RESULTS, machine
from isometry.manifolds import Lorentz, Manifold, PoincareBall, Sphere, StiefelCanonical, StiefelEuclidean
from isometry.trainers import optim

Step = Callable[[], Any]


class Case(NamedTuple):
    """Tables of points with gradients, dense or a cycle of sparse ones."""

    name: str
    tables: list[tuple[Manifold | None, geoopt.Manifold, Tensor]]
    sparse: str = ""

    def gradients(self) -> list[Tensor]:
        """Return one gradient per table, or for a single table the sparse gradients of eight steps."""
        if not self.sparse:
            return [1e-3 * torch.randn_like(x) for _, _, x in self.tables]
        return [sparse_gradient(self.sparse, self.tables[0][2]) for _ in range(8)]


def sparse_gradient(kind: str, table: Tensor) -> Tensor:
    """Return a gradient in 5,000 rows: sorted and coalesced, as nn.Embedding gives it, or with 25,000 entries."""
    rows = torch.randperm(len(table))[:5000]
    if kind == "coalesced":
        rows = rows.sort().values
    if kind == "repeated":
        rows = rows[torch.randint(0, 5000, (25_000,))]
    values = 1e-3 * torch.randn(len(rows), table.shape[1])
    coalesced = kind == "coalesced"
    return torch.sparse_coo_tensor(rows[None], values, table.shape, is_coalesced=coalesced, check_invariants=False)


def tables(manifold: str, count: int, shape: tuple[int, ...]) -> list[tuple[Manifold | None, geoopt.Manifold, Tensor]]:
    """Return random points: uniform on spheres and Stiefel manifolds, elsewhere near the origin."""
    pairs: dict[str, Callable[[], tuple[Manifold | None, geoopt.Manifold]]] = {
        "sphere": lambda: (Sphere(shape[-1] - 1), geoopt.Sphere()),
        "ball": lambda: (PoincareBall(shape[-1]), geoopt.PoincareBall()),
        "lorentz": lambda: (Lorentz(shape[-1] - 1), geoopt.Lorentz()),
        "Stiefel": lambda: (StiefelEuclidean(*shape), geoopt.EuclideanStiefel()),
        "canonical Stiefel": lambda: (StiefelCanonical(*shape), geoopt.CanonicalStiefel()),
        "flat": lambda: (None, geoopt.Euclidean(1)),
    }
    ours, theirs = pairs[manifold]()
    points = [torch.randn(shape) if ours is None else ours.random(*shape) for _ in range(count)]
    return [(ours, theirs, 0.5 * x if manifold == "ball" else x) for x in points]


def cases(quick: bool) -> list[Case]:
    """Return what is measured."""
    small, rows = (64, 16), 10_000 if quick else 100_000
    table = tables("ball", 1, (rows, 10))
    return [
        *(
            Case(
                f"200 small tables (50 sphere, 50 {stiefel}, 100 ball, 64x16)",
                tables("sphere", 50, small) + tables(stiefel, 50, small) + tables("ball", 100, small),
            )
            for stiefel in ("Stiefel", "canonical Stiefel")
        ),
        Case("50 Stiefel matrices 64x16", tables("Stiefel", 50, small)),
        Case("50 canonical Stiefel matrices 64x16", tables("canonical Stiefel", 50, small)),
        Case("100 sphere tables 64x16", tables("sphere", 100, small)),
        Case("100 ball tables 64x16", tables("ball", 100, small)),
        Case("100 Lorentz tables 64x16", tables("lorentz", 100, small)),
        Case("200 Euclidean tables 64x16", tables("flat", 200, small)),
        Case(f"ball table {rows}x10", table),
        Case(f"ball table {rows}x10, 5000 rows, coalesced", table, "coalesced"),
        Case(f"ball table {rows}x10, 5000 rows, as nn.Embedding gives them", table, "embedding"),
        Case(f"ball table {rows}x10, 25000 entries in 5000 rows", table, "repeated"),
        *(Case(f"one {m} table 4x8", tables(m, 1, (4, 8))) for m in ("sphere", "ball", "lorentz", "flat")),
    ]


METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "Adam": ("RiemannianAdam", {}),
    "SGD": ("RiemannianSGD", {}),
    "SGD with momentum": ("RiemannianSGD", {"momentum": 0.9}),
}


def contestants(case: Case, name: str, options: dict[str, Any]) -> dict[str, Step]:
    """Return a step of each contestant, on copies of the case's points."""
    values = [x for _, _, x in case.tables]
    grads = case.gradients()
    flat = [nn.Parameter(x.clone()) for x in values]
    theirs = [geoopt.ManifoldParameter(x.clone(), manifold=m) for _, m, x in case.tables]
    options = {"lr": 1e-4, **options}
    if case.sparse:
        torchs: Any = torch.optim.SparseAdam if "Adam" in name else torch.optim.SGD
        peer: Any = getattr(geoopt.optim, name.replace("Riemannian", "SparseRiemannian"))
        peers = {"geoopt": stepper(peer(theirs, **options), theirs, grads)}
        if "momentum" not in options:
            peers["torch"] = stepper(torchs(flat, **options), flat, grads)
    else:
        torchs = torch.optim.Adam if "Adam" in name else torch.optim.SGD
        peer = getattr(geoopt.optim, name)
        peers = {"geoopt": stepper(peer(theirs, **options), theirs, grads)}
        peers["torch"] = stepper(torchs(flat, fused=True, **options), flat, grads)
    ours = {}
    for key, compiled in (("isometry", False), ("isometry_compiled", True)):
        params = [nn.Parameter(x.clone()) for x in values]
        groups: dict[Any, list[Any]] = {}
        for p, (manifold, _, _) in zip(params, case.tables, strict=True):
            groups.setdefault(manifold, []).append(p)
        named = [{"params": members, **({"manifold": m} if m else {})} for m, members in groups.items()]
        ours[key] = stepper(getattr(optim, name)(named, compile=compiled, **options), params, grads)
    return peers | ours


def stepper(optimizer: torch.optim.Optimizer, params: list[Any], grads: list[Tensor]) -> Step:
    """Return the optimizer's step with fixed dense gradients, or with sparse ones in turn."""
    if not grads[0].is_sparse:
        for p, g in zip(params, grads, strict=True):
            p.grad = g.clone()
        return optimizer.step
    turn = itertools.cycle(grads)

    def step() -> None:
        params[0].grad = next(turn)
        optimizer.step()

    return step


def race(steps: dict[str, Step], rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Return milliseconds per step and how many times faster than geoopt, medians over interleaved rounds."""
    repeats = {}
    for name, step in steps.items():
        for _ in range(5):
            step()
        start = time.process_time()
        for _ in range(3):
            step()
        repeats[name] = max(1, round(3 * seconds / max(time.process_time() - start, 1e-5)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds):
        for name in list(steps)[:: 1 if turn % 2 else -1]:
            start = time.process_time()
            for _ in range(repeats[name]):
                steps[name]()
            times[name].append(1e3 * (time.process_time() - start) / repeats[name])
    result = {}
    for name, own in times.items():
        ratios = [peer / mine for peer, mine in zip(times["geoopt"], own, strict=True)]
        result[name] = {
            "ms": statistics.median(own),
            "times_geoopt": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }
    return result


def main() -> None:
    """Run all cases, print them, and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and rows, printed and not saved")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # geoopt uses what torch deprecates
    rounds, seconds = (3, 0.02) if args.quick else (15, 0.1)

    record: dict[str, Any] = {"machine": machine(), "rounds": rounds, "cases": {}}
    for case in cases(args.quick):
        for method, (name, options) in METHODS.items():
            if case.sparse and "momentum" in options:
                continue  # geoopt's sparse optimizer densifies its momentum
            torch.manual_seed(0)
            torch._dynamo.reset()
            counters.clear()
            result = race(contestants(case, name, options), rounds, seconds)
            # Flat tables are stepped by torch's kernel, and tiny ones are not worth a graph.
            compiles = case.tables[0][0] is not None and sum(x.numel() for _, _, x in case.tables) >= 1024
            if counters["graph_break"] or (compiles and not counters["stats"]["unique_graphs"]):
                raise RuntimeError(f"{case.name}, {method}: the compiled contestant did not compile to whole graphs.")
            record["cases"].setdefault(case.name, {})[method] = result
            print(f"{case.name}, {method}", flush=True)
            for key, value in result.items():
                print(f"    {key:18s} {value['ms']:9.3f} ms   {value['times_geoopt']:6.2f} times geoopt", flush=True)
    if not args.quick:
        RESULTS.mkdir(exist_ok=True)
        rounded = json.loads(json.dumps(record), parse_float=lambda s: float(f"{float(s):.4g}"))
        (RESULTS / "optimizers.json").write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
