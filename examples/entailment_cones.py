"""
Predict what is a kind of what by cones
=======================================

WordNet's mammals or nouns as points in five dimensions, each with a cone in which all of its kinds shall lie. The
points learn from the direct relations and a share of the indirect ones; those of the others that are to test are found
by whether a point lies in a cone. Hyperbolic cones are compared with Euclidean ones.

The data do not come with the library: name the folder of ``mammal_splits.npz``. ``--smoke`` makes up some.
"""

import argparse
import statistics
import tempfile
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score, precision_recall_curve
from torch import Tensor

from isometry.layers import Embedding
from isometry.layers.hyperbolic import EntailmentCone
from isometry.manifolds import Euclidean, Lorentz
from isometry.trainers.data import ConeSplits, NegativeSampler
from isometry.trainers.losses import EntailmentLoss
from isometry.trainers.optim import RiemannianAdam

WHERE = """--data: name a folder with mammal_splits.npz or, with --hierarchy noun, noun_splits.npz, numpy archives of
the files of github.com/dalab/hyperbolic_cones, data/maxn; see isometry.trainers.data.ConeSplits."""
SPACES = {"Euclidean cones": Euclidean(5), "hyperbolic cones": Lorentz(5)}
NEGATIVES, BATCH, RATES = 10, 1000, (0.05, 0.2)  # the rate is chosen by validation


def energies(cone: EntailmentCone, points: Tensor, pairs: Tensor) -> Tensor:
    """Return how far children are outside of the cones of their parents."""
    return cone(points[pairs[..., 1]], points[pairs[..., 0]])


def f1(splits: ConeSplits, cone: EntailmentCone, points: Tensor) -> tuple[float, float]:
    """Return F1 of the pairs to validate and to test, with the bound of energies that is best for the first."""
    scores, labels = {}, {}
    for part in ("valid", "test"):
        right, wrong = splits.pairs(part)
        scores[part] = -energies(cone, points, torch.cat([right, wrong])).numpy()
        labels[part] = np.arange(len(right) + len(wrong)) < len(right)
    precision, recall, bounds = precision_recall_curve(labels["valid"], scores["valid"])
    values = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = values[:-1].argmax()
    return float(values[best]), float(f1_score(labels["test"], scores["test"] >= bounds[best]))


def trained(
    splits: ConeSplits, space: Euclidean | Lorentz, steps: int, rate: float, seed: int
) -> tuple[EntailmentCone, Tensor]:
    """Train the points; return them with their cones."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    graph, reverse = splits.train, type(splits.train)(splits.train.edges.flip(1), splits.train.num_nodes)
    parents, children = (NegativeSampler(g, NEGATIVES // 2) for g in (graph, reverse))
    table, cone = Embedding(graph.num_nodes, space, init_scale=0.5, sparse=False), EntailmentCone(space)
    loss = EntailmentLoss(margin=1.0)
    optimizer = RiemannianAdam(table, lr=rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        pairs = graph.edges[torch.randint(len(graph.edges), (BATCH,), generator=generator)]
        child, parent = pairs.unbind(1)
        wrong_parent, wrong_child = parents.sample(child, generator), children.sample(parent, generator)
        wrong = torch.cat(
            [
                torch.stack([child.unsqueeze(1).expand_as(wrong_parent), wrong_parent], -1),
                torch.stack([wrong_child, parent.unsqueeze(1).expand_as(wrong_child)], -1),
            ]
        )
        optimizer.zero_grad()
        loss(energies(cone, table.weight, pairs), energies(cone, table.weight, wrong)).backward()
        optimizer.step()
        decay.step()
    return cone, table.weight.detach()


def make_up(folder: Path) -> None:
    """Write a binary tree of 63 nodes in the format of the data."""
    node = np.arange(1, 64)
    direct = np.stack([node // 2, node], 1)[1:] - 1
    indirect = np.stack([node // 4, node], 1)[3:] - 1
    right, wrong = indirect[::3], indirect[::3, ::-1]
    held_out = {"valid": right, "valid_neg": wrong, "test": right, "test_neg": wrong}
    np.savez(
        folder / "mammal_splits.npz", allow_pickle=False, vocab=node.astype(str), train_0percent=direct, **held_out
    )


def compare(path: Path, percents: tuple[int, ...], steps: int, seeds: int) -> None:
    """Train all points and print a table of F1."""
    print(f"{'share of indirect pairs':24}" + "".join(f"{percent:14} %" for percent in percents))
    for name, space in SPACES.items():
        columns = []
        for percent in percents:
            splits = ConeSplits(path, percent)
            tested = []
            for seed in range(seeds):
                runs = [f1(splits, *trained(splits, space, steps, rate, seed)) for rate in RATES]
                tested.append(max(runs, key=itemgetter(0))[1])
            columns.append(f"{statistics.mean(tested):8.3f} +- {statistics.pstdev(tested):.3f}")
        print(f"{name:24}" + "".join(columns), flush=True)


def main(
    data: Path | None = None, hierarchy: str = "mammal", steps: int = 1000, seeds: int = 3, smoke: bool = False
) -> None:
    """Run the example; ``smoke`` takes a made-up tree for a few steps, to show that it runs."""
    torch.set_num_threads(1)
    if smoke:
        with tempfile.TemporaryDirectory() as folder:
            make_up(Path(folder))
            compare(Path(folder) / "mammal_splits.npz", (0,), 5, 1)
    elif data is None:
        raise SystemExit(WHERE)
    else:
        compare(data / f"{hierarchy}_splits.npz", (0, 10, 25), steps, seeds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the archives")
    parser.add_argument("--hierarchy", choices=["mammal", "noun"], default="mammal", help="which archive")
    parser.add_argument("--steps", type=int, default=1000, help="of each training, with 1,000 pairs each")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind")
    parser.add_argument("--smoke", action="store_true", help="a few steps on a made-up tree")
    main(**vars(parser.parse_args()))
