"""Sarkar's row sweep and h-MDS, beside what bounds them: one pass over the nodes, one eigendecomposition.

    python -m benchmarks.constructions                      # made-up trees and points, of the graphs' sizes
    python -m benchmarks.constructions --data FOLDER        # wordnet.edges and grqc.edges

CPU time of the process, one thread; the best of three. A row of `sweep` is all distances from one node.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.embedding_race import RESULTS, machine
from isometry.manifolds import Lorentz
from isometry.models.constructions import SarkarEmbedding, Tree, h_mds, sarkar_embedding, spanning_tree
from isometry.trainers.data import read_graph

WORDNET, GRQC = 74_374, 4_158


def best(step: Callable[[], Any], rounds: int = 3) -> float:
    """Return the least CPU milliseconds of some rounds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        step()
        times.append(1e3 * (time.process_time() - start))
    return min(times)


def random_recursive_tree(num_nodes: int) -> Tree:
    """Return a tree in which each node hangs on one of the earlier ones, chosen at random."""
    child = torch.arange(1, num_nodes)
    parent = (torch.rand(num_nodes - 1, dtype=torch.float64) * child).long()
    return Tree(torch.stack([child, parent], 1), num_nodes)


def sweeps(tree: Tree) -> dict[str, float]:
    """Return milliseconds: of the construction, and per row, of one and of 32 at once, in 2 and 10 dimensions."""
    result = {"construction, 2 dimensions": best(lambda: SarkarEmbedding(tree, 2, 10.0))}
    for dim in (2, 10):
        embedding = sarkar_embedding(tree, dim, tau=10.0)
        for rows in (1, 32):
            nodes = torch.randint(tree.num_nodes, (rows,))
            embedding.distances_from(nodes[:1])
            result[f"sweep, {dim} dimensions, {rows} rows"] = best(partial(embedding.distances_from, nodes)) / rows
    return result


def eigen(distances: Tensor) -> dict[str, float]:
    """Return milliseconds of h-MDS into 10 dimensions and of one eigendecomposition of a matrix of that size."""
    gram = (0.1 * distances).cosh()
    return {
        "h-MDS, 10 dimensions": best(lambda: h_mds(distances, Lorentz(10, c=0.01)), 1),
        "eigh": best(lambda: torch.linalg.eigh(gram), 1),
    }


def main(data: Path | None, quick: bool) -> None:
    """Print the table; save it where it is of the real graphs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if data is None:
        size = 500 if quick else GRQC
        tree = random_recursive_tree(5_000 if quick else WORDNET)
        small = random_recursive_tree(size)
        matrix = sarkar_embedding(small, tau=1.0).distances_from(torch.arange(size))
        matrix = (matrix + matrix.T) / 2
    else:
        wordnet, grqc = read_graph(data / "wordnet.edges"), read_graph(data / "grqc.edges")
        tree = spanning_tree(wordnet.edges, wordnet.num_nodes)
        matrix = grqc.hop_distances(torch.arange(grqc.num_nodes)).double()
    result = {f"{tree.num_nodes} nodes: {name}": value for name, value in sweeps(tree).items()}
    result |= {f"{len(matrix)} nodes: {name}": value for name, value in eigen(matrix).items()}
    for name, value in result.items():
        print(f"{name:48} {value:10.2f} ms")
    if data is not None:
        content = {"machine": machine(), "milliseconds": result}
        (RESULTS / "constructions.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with wordnet.edges and grqc.edges; the result is saved")
    parser.add_argument("--quick", action="store_true", help="small made-up trees")
    options = parser.parse_args()
    main(options.data, options.quick)
