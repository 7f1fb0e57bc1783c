"""Poincare embeddings of WordNet beside the peers: MAP against CPU seconds, and training pairs per second.

Every contestant trains the same graph with the same recipe on one thread of one process. The contestants take
turns (the one with the least CPU time so far goes next), so a noisy neighbour slows all of them alike. Clocks
count sampling and leave out set-up and evaluation; one exact evaluator scores every table.

    python -m benchmarks.embedding_peers --data FOLDER --fb-path FOLDER [--only NAME ...] [--nouns]

FOLDER of `--data` holds mammal_closure.csv and, for `--nouns`, noun_closure.npz.
"""

import argparse
import csv
import importlib.metadata
import json
import math
import platform
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.embedding_contestants import (
    FB_HELP,
    Contestant,
    Graph,
    Recipe,
    gensim_model,
    geoopt_loop,
    published_code,
)

MAMMALS = Recipe(dim=5, negatives=10, batch=100, rate=0.1, burn_in=20)
NOUNS = Recipe(dim=10, negatives=10, batch=1000, rate=0.1, burn_in=0)


def reconstruction(table: Tensor, graph: Graph, chunk: int = 64) -> tuple[float, float]:
    """Exact MAP and mean rank of every node's true ancestors among its non-ancestors, itself left out.

    With r(v) = #{w != u: d(u, w) <= d(u, v)} and i(v) the same count over ancestors only, AP(u) is the mean of
    i / r over the ancestors v of u, and the rank of v is r - i + 1; ties count against the embedding.
    Source: Nickel and Kiela, Poincare Embeddings, 2017, section 4.1.
    """
    points = table.double()
    conformal = 1 - points.square().sum(1)
    order = graph.edges[:, 0].argsort()
    nodes, counts = graph.edges[order, 0].unique_consecutive(return_counts=True)
    ancestors = graph.edges[order, 1].split(counts.tolist())
    precision, rank = [], []
    for first in range(0, len(nodes), chunk):
        u = nodes[first : first + chunk]
        gap = torch.cdist(points[u], points, compute_mode="donot_use_mm_for_euclid_dist").square()
        key = gap / (conformal[u, None] * conformal)  # = sinh^2(d / 2), increasing in d
        key[torch.arange(len(u)), u] = math.inf
        everyone = key.sort(1).values
        for row, true in enumerate(ancestors[first : first + chunk]):
            near = key[row, true].sort().values
            r = torch.searchsorted(everyone[row], near, right=True).double()
            i = torch.searchsorted(near, near, right=True).double()
            precision.append((i / r).mean())
            rank.append(r - i + 1)
    return torch.stack(precision).mean().item(), torch.cat(rank).mean().item()


@dataclass
class Run:
    """One contestant on the track: its clocks and its curve of (CPU s, wall s, MAP, mean rank)."""

    steps: Iterator[tuple[int, Tensor]]
    cpu: float = 0.0
    wall: float = 0.0
    pairs: int = 0
    curve: list[tuple[float, float, float, float]] = field(default_factory=list)

    def advance(self) -> Tensor:
        """Train until the contestant yields, on the clock."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.pairs, table = next(self.steps)
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall
        return table

    def seconds_to(self, level: float) -> float | None:
        """CPU seconds at which the curve first reaches a MAP, linear between its points."""
        before = (0.0, 0.0)
        for cpu, _, score, _ in self.curve:
            if score >= level:
                return before[0] + (cpu - before[0]) * (level - before[1]) / (score - before[1])
            before = (cpu, score)
        return None

    def summary(self) -> dict[str, object]:
        """Return what the record keeps of the run."""
        return {
            "pairs_per_second": round(self.pairs / self.cpu),
            "cpu_seconds_to_map": {level: self.seconds_to(level) for level in (0.80, 0.90, 0.95)},
            "curve": [[round(value, 4) for value in point] for point in self.curve],
        }


def race(contestants: dict[str, Contestant], graph: Graph, recipe: Recipe, seconds: float) -> dict[str, Run]:
    """Let all train in turns until each has had its CPU seconds; score at times growing by 10 %."""
    runs = {name: Run(start(graph, recipe)) for name, start in contestants.items()}
    for run in runs.values():
        next(run.steps)  # set-up is off the clock
    marks = dict.fromkeys(runs, 0.3)
    while late := [name for name, run in runs.items() if run.cpu < seconds]:
        name = min(late, key=lambda name: runs[name].cpu)
        run = runs[name]
        table = run.advance()
        if run.cpu >= marks[name] or run.cpu >= seconds:
            run.curve.append((run.cpu, run.wall, *reconstruction(table, graph)))
            marks[name] = 1.1 * run.cpu
            print(f"{name:16s} {run.cpu:6.1f} s  MAP {run.curve[-1][2]:.4f}  rank {run.curve[-1][3]:.2f}")
    for name, run in runs.items():
        to = ", ".join(f"{level:.2f} at {run.seconds_to(level) or math.nan:.2f} s" for level in (0.80, 0.90, 0.95))
        print(f"{name:16s} {run.pairs / run.cpu:10,.0f} pairs/s, MAP {to}")
    return runs


def throughput(contestants: dict[str, Contestant], graph: Graph, recipe: Recipe, rounds: int) -> dict[str, float]:
    """Median pairs per CPU second over rounds in which every contestant trains until its next yield."""
    runs = {name: Run(start(graph, recipe)) for name, start in contestants.items()}
    for run in runs.values():
        next(run.steps)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            pairs, cpu = run.pairs, run.cpu
            run.advance()
            rates[name].append((run.pairs - pairs) / (run.cpu - cpu))
            print(f"{name:16s} {rates[name][-1]:12,.0f} pairs/s")
    return {name: float(np.median(values)) for name, values in rates.items()}


def machine() -> dict[str, str | int]:
    """Processor, threads and versions, for the record."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    packages = ("torch", "geoopt", "gensim", "numpy", "pytorch-lightning")
    return {
        "processor": f"{cpu.get('model name', platform.processor())} family {cpu.get('cpu family', '?')}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def load_mammals(folder: Path) -> Graph:
    """Read mammal_closure.csv (header id1,id2,weight), nodes in alphabetical order."""
    with (folder / "mammal_closure.csv").open(newline="") as file:
        pairs = [(row["id1"], row["id2"]) for row in csv.DictReader(file)]
    index = {name: i for i, name in enumerate(sorted({name for pair in pairs for name in pair}))}
    return Graph(torch.tensor([[index[u], index[v]] for u, v in pairs]), len(index))


def load_nouns(folder: Path) -> Graph:
    """Read noun_closure.npz (arrays `names` and `edges`)."""
    with np.load(folder / "noun_closure.npz") as file:
        return Graph(torch.from_numpy(file["edges"].astype(np.int64)), len(file["names"]))


def main() -> None:
    """Run the race, print it, and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the WordNet closures")
    parser.add_argument("--fb-path", type=Path, help="folder with the published code, built (left out if absent)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these contestants only")
    parser.add_argument("--seconds", type=float, default=40.0, help="CPU seconds per contestant on mammals")
    parser.add_argument("--nouns", action="store_true", help="measure pairs per second on nouns instead")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)

    contestants = {
        "gensim": gensim_model(alpha=0.2, batch=50),
        "geoopt_float64": geoopt_loop(torch.float64),
        "geoopt_float32": geoopt_loop(torch.float32),
    }
    record: dict[str, object] = {"machine": machine()}
    if args.fb_path:
        contestants["published"] = published_code(args.fb_path)
        commit = subprocess.run(["git", "-C", args.fb_path, "rev-parse", "HEAD"], capture_output=True, text=True)
        record["published_commit"] = commit.stdout.strip()
    else:
        print(FB_HELP)
    if args.only:
        contestants = {name: contestants[name] for name in args.only}

    if args.nouns:
        rates = throughput(contestants, load_nouns(args.data), NOUNS, rounds=2)
        record |= {"recipe": asdict(NOUNS), "pairs_per_second": rates}
    else:
        runs = race(contestants, load_mammals(args.data), MAMMALS, args.seconds)
        record |= {"recipe": asdict(MAMMALS), "curve_columns": ["cpu_s", "wall_s", "map", "mean_rank"]}
        record["contestants"] = {name: run.summary() for name, run in runs.items()}
    if args.out:
        args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
