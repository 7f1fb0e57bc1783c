"""Poincare embeddings of WordNet beside the peers: MAP against CPU seconds, and training pairs per second.

Every contestant trains the same graph with the same recipe on one thread of one process. The contestants take
turns (the one with the least CPU time so far goes next), so a noisy neighbour slows all of them alike. Clocks
count sampling and leave out set-up and evaluation; one exact evaluator scores every table.

    python -m benchmarks.embedding_race --fb-path F      # mammals; writes benchmarks/results/embedding_mammals.json
    python -m benchmarks.embedding_race --nouns PATH     # nouns; writes benchmarks/results/embedding_nouns.json
"""

import argparse
import importlib.metadata
import json
import logging
import platform
import subprocess
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.embedding_contestants import Contestant, Recipe, isometry_bare, isometry_trainer
from benchmarks.embedding_peers import FB_HELP, gensim_model, geoopt_loop, published_code
from isometry.manifolds import PoincareBall
from isometry.trainers.data import Graph, read_graph, wordnet_mammals
from isometry.trainers.metrics import Reconstruction

RESULTS = Path(__file__).parent / "results"
MAMMALS = Recipe(dim=5, negatives=10, batch=100, pair_rate=0.1, burn_in=20)
NOUNS = Recipe(dim=10, negatives=10, batch=1000, pair_rate=0.1, burn_in=0)
NOUN_BATCHES = (50, 1000)
LEVELS = ("0.80", "0.90", "0.95")


def reconstruction(table: Tensor, graph: Graph) -> tuple[float, float]:
    """Exact MAP and mean rank of a table of points of the unit ball, its distances in float64."""
    points, ball, metric = table.double(), PoincareBall(table.shape[1]), Reconstruction(graph)
    for nodes in torch.arange(graph.num_nodes).split(128):
        metric.update(nodes, ball.dist(points[nodes, None], points))
    values = metric.compute()
    return values["map"].item(), values["mean_rank"].item()


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

    def summary(self) -> dict[str, Any]:
        """Return what the record keeps of the run."""
        return {
            "pairs_per_second": round(self.pairs / self.cpu),
            "cpu_seconds_to_map": {level: self.seconds_to(float(level)) for level in LEVELS},
            "curve": [[round(value, 4) for value in point] for point in self.curve],
        }


def start(contestants: Mapping[str, Contestant], graph: Graph, recipe: Recipe) -> dict[str, Run]:
    """Set all contestants up, off the clock."""
    runs = {name: Run(contestant(graph, recipe)) for name, contestant in contestants.items()}
    for run in runs.values():
        next(run.steps)
    return runs


def race(contestants: Mapping[str, Contestant], graph: Graph, recipe: Recipe, seconds: float) -> dict[str, Any]:
    """Let all train in turns until each has had its CPU seconds; score at times growing by 10 %."""
    runs = start(contestants, graph, recipe)
    marks = dict.fromkeys(runs, 0.3)
    while late := [name for name, run in runs.items() if run.cpu < seconds]:
        name = min(late, key=lambda name: runs[name].cpu)
        run = runs[name]
        table = run.advance()
        if run.cpu >= marks[name] or run.cpu >= seconds:
            run.curve.append((run.cpu, run.wall, *reconstruction(table, graph)))
            marks[name] = 1.1 * run.cpu
    return {name: run.summary() for name, run in runs.items()}


def throughput(
    contestants: Mapping[str, Contestant], graph: Graph, recipe: Recipe, rounds: int
) -> dict[str, dict[str, float]]:
    """Median pairs per CPU second over rounds in which every contestant trains for an epoch."""
    runs = start(contestants, graph, recipe)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            pairs, cpu = run.pairs, run.cpu
            run.advance()
            rates[name].append((run.pairs - pairs) / (run.cpu - cpu))
    return {name: {"pairs_per_second": round(float(np.median(values)))} for name, values in rates.items()}


def speeds(result: Mapping[str, Any]) -> dict[str, float]:
    """Pairs per second, and the inverse of the seconds to each level that was reached."""
    times = {f"MAP {level}": 1 / s for level, s in result.get("cpu_seconds_to_map", {}).items() if s}
    return {"pairs per second": result["pairs_per_second"], **times}


def speedups(results: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """How many times faster each contestant of isometry is than each peer."""

    def ratios(ours: str, peer: str) -> dict[str, float]:
        fast, slow = speeds(results[ours]), speeds(results[peer])
        return {key: round(fast[key] / slow[key], 2) for key in fast if key in slow}

    mine = [name for name in results if name.startswith("isometry")]
    return {ours: {peer: ratios(ours, peer) for peer in results if peer not in mine} for ours in mine}


def print_tables(title: str, results: Mapping[str, Any]) -> None:
    """Print every contestant's results, then the speed-ups."""
    print(f"\n{title}")
    for name, result in results.items():
        line = f"{name:20s}{result['pairs_per_second']:12,} pairs/s"
        for level, seconds in result.get("cpu_seconds_to_map", {}).items():
            line += f"   {level} " + (f"at {seconds:5.2f} s" if seconds else "not yet   ")
        if curve := result.get("curve"):
            line += f"   last MAP {curve[-1][2]:.3f}, mean rank {curve[-1][3]:.2f}"
        print(line)
    for ours, peers in speedups(results).items():
        print(f"{ours} is faster than")
        for peer, ratios in peers.items():
            print(f"    {peer:16s}" + ", ".join(f"{value:5.2f} times ({key})" for key, value in ratios.items()))


def machine() -> dict[str, str | int]:
    """Processor, threads and versions, for the record."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    packages = ("isometry", "torch", "pytorch-lightning", "geoopt", "gensim", "numpy")
    return {
        "processor": f"{cpu.get('model name', platform.processor())} family {cpu.get('cpu family', '?')}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def contestants(gensim_batch: int, fb_path: Path | None) -> dict[str, Contestant]:
    """All who run, by name."""
    runners = {
        "gensim": gensim_model(alpha=0.2, batch=gensim_batch),
        "geoopt_float64": geoopt_loop(torch.float64),
        "geoopt_float32": geoopt_loop(torch.float32),
        "isometry_float64": isometry_trainer(torch.float64),
        "isometry_float32": isometry_trainer(torch.float32),
        "isometry_bare": isometry_bare(torch.float32),
        "isometry_unfused": isometry_trainer(torch.float32, fused=False),
    }
    return runners | ({"published": published_code(fb_path)} if fb_path else {})


def main() -> None:
    """Run the race, print it, and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, printed and not saved")
    parser.add_argument(
        "--fb-path", type=Path, help="folder with the published code, built; results are saved only with it"
    )
    parser.add_argument("--nouns", type=Path, help="noun_closure.npz or a folder of WordNet's files: pairs per second")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # peers use what torch deprecates, and Lightning counsels worker processes

    record: dict[str, Any] = {"machine": machine()}
    if args.fb_path:
        commit = ["git", "-C", args.fb_path, "rev-parse", "HEAD"]
        record["published_commit"] = subprocess.run(commit, capture_output=True, text=True).stdout.strip()
    else:
        print(FB_HELP)
    if args.nouns:
        graph = read_graph(args.nouns)
        if args.quick:
            graph = Graph(graph.edges[::10].contiguous(), graph.num_nodes)
        record |= {"recipe": asdict(NOUNS), "batches": {}}
        for batch in NOUN_BATCHES:
            recipe, rounds = replace(NOUNS, batch=batch), 1 if args.quick else 2
            results = throughput(contestants(batch, args.fb_path), graph, recipe, rounds)
            print_tables(f"nouns, batches of {batch}", results)
            record["batches"][batch] = {"contestants": results, "times_faster": speedups(results)}
    else:
        seconds = 4 if args.quick else 40
        results = race(contestants(50, args.fb_path), wordnet_mammals(), MAMMALS, seconds)
        print_tables("mammals, CPU seconds to MAP", results)
        record |= {"recipe": asdict(MAMMALS), "curve_columns": ["cpu_s", "wall_s", "map", "mean_rank"]}
        record |= {"contestants": results, "times_faster": speedups(results)}
    if args.fb_path and not args.quick:  # a race without its strongest peer does not replace one with it
        name = "embedding_nouns.json" if args.nouns else "embedding_mammals.json"
        (RESULTS / name).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
