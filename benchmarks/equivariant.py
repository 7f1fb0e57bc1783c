"""Equivariant layers beside those of e3nn, cuEquivariance, fairchem and torchmd-net, and the processor's limit.

Contestants take turns in one process on one thread; a round gives one ratio of process CPU times. The flops are those
of the matrix products that a step calls, and `of the limit` is their rate over that of a product of 1024 x 1024
matrices. Compiled contestants are taken to do the products of the same one in eager mode.

    python -m benchmarks.equivariant          # writes benchmarks/results/equivariant.json
    python -m benchmarks.equivariant uvu      # some groups only, printed and not saved
"""

import argparse
import importlib.metadata
import json
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch._dynamo
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.embedding_race import RESULTS, machine
from benchmarks.equivariant_gaunt import gaunt
from benchmarks.equivariant_so2 import depthwise, fully_connected, wigner, with_positions
from benchmarks.equivariant_tensornet import neighbours, tensornet
from benchmarks.race import Step, race, times_faster

GROUPS: dict[str, Callable[[], Iterator[tuple[str, dict[str, Step]]]]] = {
    "uvu": depthwise,
    "positions": with_positions,
    "uvw": fully_connected,
    "wigner": wigner,
    "gaunt": gaunt,
    "tensornet": tensornet,
    "neighbours": neighbours,
}


def limit() -> float:
    """Return the flops per millisecond of the product of two large matrices."""
    x = torch.randn(2, 1024, 1024)
    times = race({"product": lambda: x[0] @ x[1]}, 5, 0.2)["product"]
    return 2 * 1024**3 / min(times)


class CountFlops(TorchDispatchMode):
    """Count the flops of matrix products, those of autograd too."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **kwargs, out_val=output)
        return output


def flops(step: Step) -> int:
    """Return the flops of a step's matrix products."""
    with CountFlops() as counter:
        step()
    return counter.total


def measure(steps: dict[str, Step], rounds: int, seconds: float, fastest: float) -> dict[str, Any]:
    """Return the times and flops of all, and how many times faster than each peer isometry is."""
    work = {name: flops(step) for name, step in steps.items() if not name.endswith(", compiled")}
    work |= {name: work[name.removesuffix(", compiled")] for name in steps if name not in work}
    times = race(steps, rounds, seconds)
    own = {name: ms for name, ms in times.items() if name.startswith("isometry")}
    return {
        "ms": {name: statistics.median(ms) for name, ms in times.items()},
        "times_faster_than": {
            peer: {name: times_faster(ms, mine) for name, mine in own.items()}
            for peer, ms in times.items()
            if peer not in own
        },
        "gflop": {name: count / 1e9 for name, count in work.items()},
        "of the limit": {name: work[name] / statistics.median(ms) / fastest for name, ms in times.items()},
    }


def growth(cases: dict[str, Any], like: str) -> dict[str, float]:
    """Return the power of L by which the time of each contestant grows from L = 3 to L = 6, if both were measured."""
    first, last = (cases.get(like.format(lmax=lmax), {}).get("ms", {}) for lmax in (3, 6))
    return {name: math.log(last[name] / first[name]) / math.log(2) for name in first if name in last}


def show(name: str, result: dict[str, Any]) -> None:
    """Print a case's result."""
    print(name)
    for contestant, ms in result["ms"].items():
        line = f"    {contestant:24s}{ms:9.3f} ms {result['gflop'][contestant]:8.3f} Gflop"
        line += f" {result['of the limit'][contestant]:5.0%} of the limit"
        for ours, ratio in result["times_faster_than"].get(contestant, {}).items():
            line += f"   {ours} {ratio['median']:.2f} times ({ratio['least']:.2f} to {ratio['most']:.2f})"
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
    torch._dynamo.config.recompile_limit = 1000  # every case compiles the same modules for new sizes
    warnings.simplefilter("ignore")  # of what e3nn deprecates
    rounds, seconds = (3, 0.02) if args.quick else (7, 0.1)

    fastest, cases = limit(), {}
    for group in args.groups or GROUPS:
        torch.manual_seed(0)
        start = time.perf_counter()
        for name, steps in GROUPS[group]():
            cases[name] = measure(steps, rounds, seconds, fastest)
            show(name, cases[name])
        print(f"{group}: {time.perf_counter() - start:.0f} s", flush=True)
    growths = {
        like: growth(cases, like)
        for what in ("uvu", "uvw")
        for channels in (32, 64)
        for like in [f"{what} forward+backward, L={{lmax}}, {channels} channels"]
    }
    print(json.dumps(growths, indent=1))
    if not (args.quick or args.groups):
        peers = ("e3nn", "cuequivariance-torch", "fairchem-core", "torchmd-net", "vesin", "matscipy", "ase")
        versions = {name: importlib.metadata.version(name) for name in peers}
        save(machine() | versions | {"gflop_per_s": fastest / 1e6}, rounds, cases, growths)


def save(setting: dict[str, Any], rounds: int, cases: dict[str, Any], growths: dict[str, Any]) -> None:
    """Write the results, four digits and one line for each case, for readable diffs."""
    rounded = json.loads(json.dumps(cases), parse_float=lambda s: float(f"{float(s):.4g}"))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(result)}" for name, result in rounded.items())
    head = f'"machine": {json.dumps(setting)},\n"rounds": {rounds},\n"power of L, from 3 to 6": {json.dumps(growths)}'
    (RESULTS / "equivariant.json").write_text(f'{{{head},\n"cases": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
