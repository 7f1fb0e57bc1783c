"""Layers and distances of covariance matrices beside spd-learn's and geoopt's, and beside one eigendecomposition.

Contestants get the same matrices and take turns in one process on one thread; a round gives one ratio of process
CPU times. spd-learn runs at its best: its weights as plain parameters, without the orthogonal map that it otherwise
recomputes in every forward. `limit` is the eigendecomposition alone (of the layer's output, or one of a pair).

    python -m benchmarks.spd                # writes benchmarks/results/spd.json
    python -m benchmarks.spd block reeig    # some groups only, printed and not saved
"""

import argparse
import importlib.metadata
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import geoopt
import spd_learn.functional as peer_functions
import spd_learn.modules as peer
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.embedding_race import RESULTS, machine
from benchmarks.race import Step, race, times_faster
from isometry.layers import BatchNorm, BiMap, LogEig, ReEig, SubspaceClassifier, Vectorize
from isometry.manifolds import SPDAffineInvariant, SPDBuresWasserstein
from isometry.manifolds.spectral import spectrum
from isometry.trainers.optim import RiemannianSGD
from tests.layers.decompositions import CountDecompositions

EPS = 1e-4
DTYPES = (torch.float32, torch.float64)


class Case(NamedTuple):
    """What is raced, on how many threads, by which clock."""

    name: str
    steps: dict[str, Step]
    threads: int = 1


def covariances(*shape: int, dtype: torch.dtype, floor: float = 1e-2) -> Tensor:
    """Return random covariance matrices with eigenvalues above ``floor``; the last size is that of the matrices."""
    n = shape[-1]
    z = torch.randn(*shape, 2 * n, dtype=dtype)
    return z @ z.mT / (2 * n) + floor * torch.eye(n, dtype=dtype)


def forward(f: Callable[..., Tensor], *inputs: Tensor) -> Step:
    """Return a step that evaluates without a graph."""

    def step() -> None:
        with torch.no_grad():
            f(*inputs)

    return step


def backward(f: Callable[..., Tensor], *inputs: Tensor, module: nn.Module | None = None) -> Step:
    """Return a step that evaluates and differentiates by the inputs and the module's parameters."""
    inputs = tuple(x.clone().requires_grad_() for x in inputs)
    variables = [*inputs, *(module.parameters() if module else ())]
    weight = torch.randn_like(f(*inputs))
    return lambda: torch.autograd.grad(f(*inputs), variables, weight)


def training(head: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, labels: Tensor, classes: int) -> Step:
    """Return a training step on the first ``classes`` outputs of the head."""

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(head(x)[:, :classes], labels).backward()
        optimizer.step()

    return step


def label(*parts: object) -> str:
    """Return the parts of a case's name in one line."""
    return ", ".join(str(p).removeprefix("torch.") for p in parts)


def blocks() -> Iterator[Case]:
    """BiMap, ReEig, LogEig and the upper triangle, on a batch of 64."""
    for dtype in DTYPES:
        for n, k in ((32, 24), (64, 48), (93, 70)):
            x = covariances(64, n, dtype=dtype)
            first = BiMap(n, k, dtype=dtype)
            ours = nn.Sequential(first, LogEig(EPS), Vectorize(k))
            apart = nn.Sequential(first, ReEig(EPS), LogEig(), Vectorize(k))
            bi_map = peer.BiMap(n, k, parametrized=False, dtype=dtype)
            bi_map.weight.data.copy_(first.weight.detach())
            theirs = nn.Sequential(bi_map, peer.ReEig(EPS, dtype=dtype), peer.LogEig())
            small = first(x).detach()
            modules = {"isometry": ours, "isometry, ReEig apart": apart, "spd_learn": theirs}
            limit = {"limit": partial(torch.linalg.eigh, small)}
            yield Case(
                label("block forward", f"n={n}->{k}", dtype), {m: forward(f, x) for m, f in modules.items()} | limit
            )
            steps = {m: backward(f, x, module=f) for m, f in modules.items()}
            yield Case(label("block forward+backward", f"n={n}->{k}", dtype), steps | limit)


def rectifiers() -> Iterator[Case]:
    """ReEig alone on a batch of 64: no matrix below the threshold, one, all."""
    for dtype in DTYPES:
        for n in (32, 64, 93):
            for below in (0, 1, 64):
                x = covariances(64, n, dtype=dtype)
                x[:below] -= (torch.linalg.eigvalsh(x[:below])[:, :1, None] + 1e-3) * torch.eye(n, dtype=dtype)
                steps = {"isometry": backward(ReEig(EPS), x), "spd_learn": backward(peer.ReEig(EPS, dtype=dtype), x)}
                steps["limit"] = partial(torch.linalg.cholesky_ex, x)
                yield Case(label("ReEig forward+backward", f"n={n}", f"{below} of 64 below", dtype), steps)


def distances() -> Iterator[Case]:
    """Distances of 512 pairs."""
    for dtype in DTYPES:
        for n in (8, 16, 32, 64):
            x, y = covariances(2, 512, n, dtype=dtype)
            metrics: dict[str, dict[str, Callable[..., Tensor]]] = {
                "affine-invariant": {
                    "isometry": SPDAffineInvariant(n).dist,
                    "spd_learn": peer_functions.airm_distance,
                    "geoopt": geoopt.SymmetricPositiveDefinite("AIM").dist,
                },
                "Bures-Wasserstein": {
                    "isometry": SPDBuresWasserstein(n).dist,
                    "spd_learn": peer_functions.bures_wasserstein_distance,
                },
            }
            if dtype == torch.float32:  # "isometry" computes float32 in float64, as is its default
                metrics["affine-invariant"]["isometry, upcast=False"] = SPDAffineInvariant(n, upcast=False).dist
                metrics["Bures-Wasserstein"]["isometry, upcast=False"] = SPDBuresWasserstein(n, upcast=False).dist
            for metric, contestants in metrics.items():
                steps = {m: forward(f, x, y) for m, f in contestants.items()}
                steps["limit"] = partial(torch.linalg.eigvalsh, x)
                yield Case(label(f"{metric} distance forward", f"n={n}", dtype), steps)
                steps = {m: backward(f, x, y) for m, f in contestants.items()}
                steps["limit"] = partial(torch.linalg.eigh, x)
                yield Case(label(f"{metric} distance forward+backward", f"n={n}", dtype), steps)


def on_one_thread(x: Tensor) -> None:
    """Decompose on one thread where two are set: a second one helps torch little, and hurts it on a busy machine."""
    torch.set_num_threads(1)
    torch.linalg.eigh(x)
    torch.set_num_threads(2)


def eigendecompositions() -> Iterator[Case]:
    """Decompositions of 512 matrices on two threads, wall time; a busy machine shows in the spread."""
    for dtype in DTYPES:
        for n in (16, 32, 64):
            x = covariances(512, n, dtype=dtype)
            steps: dict[str, Step] = {"isometry": partial(spectrum, x), "torch": partial(on_one_thread, x)}
            yield Case(label("eigendecomposition", "2 threads, wall", f"n={n}", dtype), steps, threads=2)


def batch_norms() -> Iterator[Case]:
    """A training step's batch norm of C channels of 32 matrices, affine-invariant, one Karcher step."""
    for channels in (1, 8, 32):
        for n in (12, 30):
            x = covariances(32, channels, n, dtype=torch.float64)
            ours = BatchNorm(SPDAffineInvariant(n), channels, dtype=torch.float64)
            theirs = nn.ModuleList(peer.SPDBatchNormMeanVar(n, dtype=torch.float64) for _ in range(channels))

            def loop(x: Tensor, theirs: nn.ModuleList = theirs) -> Tensor:
                return torch.cat([m(x[:, i : i + 1]) for i, m in enumerate(theirs)], 1)

            steps = {"isometry": backward(ours, x, module=ours), "spd_learn": backward(loop, x, module=theirs)}
            steps["limit"] = partial(torch.linalg.eigh, x)
            yield Case(label("batch norm forward+backward", f"n={n}", f"{channels} channels", x.dtype), steps)


def heads() -> Iterator[Case]:
    """A training step of the head of subspaces and of a linear layer with as many parameters."""
    for classes, n, k in ((10, 64, 4), (100, 256, 8), (1000, 512, 8)):
        x, labels = torch.randn(64, n), torch.randint(classes, (64,))
        ours, theirs = SubspaceClassifier(n, classes, k), nn.Linear(n, classes * k, bias=False)
        steps = {
            "isometry": training(ours, RiemannianSGD(ours, lr=1e-3), x, labels, classes),
            "nn.Linear": training(theirs, torch.optim.SGD(theirs.parameters(), lr=1e-3), x, labels, classes),
        }
        yield Case(label("subspace head, SGD step", f"{classes} classes", f"n={n}", f"k={k}", x.dtype), steps)


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "block": blocks,
    "reeig": rectifiers,
    "distance": distances,
    "threads": eigendecompositions,
    "batchnorm": batch_norms,
    "head": heads,
}


def measure(case: Case, rounds: int, seconds: float) -> dict[str, Any]:
    """Return the times of all, how many times faster than each peer isometry is, and the matrices decomposed."""
    decomposed = {}
    for name, step in case.steps.items():
        with CountDecompositions() as count:
            step()
        decomposed[name] = count.vectors + count.values + count.singular
    torch.set_num_threads(case.threads)
    times = race(case.steps, rounds, seconds, time.process_time if case.threads == 1 else time.perf_counter)
    torch.set_num_threads(1)
    own = {name: ms for name, ms in times.items() if name.startswith("isometry")}
    return {
        "ms": {name: statistics.median(ms) for name, ms in times.items()},
        "times_faster_than": {
            peer: {name: times_faster(ms, mine) for name, mine in own.items()}
            for peer, ms in times.items()
            if peer not in own
        },
        "decomposed": decomposed,
    }


def show(name: str, result: dict[str, Any]) -> None:
    """Print a case's result."""
    print(name)
    for contestant, ms in result["ms"].items():
        line = f"    {contestant:24s}{ms:9.3f} ms {result['decomposed'][contestant]:6d} decompositions"
        for ours, ratio in result["times_faster_than"].get(contestant, {}).items():
            spread = f"{ratio['least']:.2f} to {ratio['most']:.2f}, best rounds {ratio['best']:.2f}"
            line += f"   {ours} {ratio['median']:.2f} times ({spread})"
        print(line, flush=True)


def main() -> None:
    """Run the cases, print them, and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", help=f"{', '.join(GROUPS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, printed and not saved")
    args = parser.parse_args()
    if unknown := set(args.groups) - set(GROUPS):
        parser.error(f"expected {', '.join(GROUPS)}, but got {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # geoopt uses what torch deprecates
    rounds, seconds = (3, 0.02) if args.quick else (9, 0.05)

    cases: dict[str, Any] = {}
    for group in args.groups or GROUPS:
        torch.manual_seed(0)
        for case in GROUPS[group]():
            cases[case.name] = measure(case, rounds, seconds)
            show(case.name, cases[case.name])
    if not (args.quick or args.groups):
        versions = {name: importlib.metadata.version(name) for name in ("spd-learn", "geoopt")}
        save(machine() | versions, rounds, cases)


def save(setting: dict[str, Any], rounds: int, cases: dict[str, Any]) -> None:
    """Write the results, four digits and one line for each case, for readable diffs."""
    rounded = json.loads(json.dumps(cases), parse_float=lambda s: float(f"{float(s):.4g}"))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(result)}" for name, result in rounded.items())
    text = f'{{"machine": {json.dumps(setting)},\n"rounds": {rounds},\n"cases": {{\n{lines}\n}}}}\n'
    (RESULTS / "spd.json").write_text(text)


if __name__ == "__main__":
    main()
