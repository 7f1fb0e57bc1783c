"""
Classify nodes of graphs and hypergraphs
========================================

The field of a paper, from its words and from what joins it to others: a citation, a common author, a paper that cites
both; and the kind of a web page, whose links say little. By the hypergraph network HGNN, and by FE-GNN, which is linear
in features that the graph has expanded.

The data do not come with the library: name a folder in which, or in whose folders, ``cora.npz``, ``texas.npz``,
``coauthorship_cora.npz`` and ``cocitation_cora.npz`` are. ``--smoke`` makes up some.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from isometry.layers import FeatureExpansion
from isometry.models import FEGNN, HGNN
from isometry.trainers import Classification
from isometry.trainers.data import Cora, CoraHypergraph, NodeDataModule, TensorDataModule, Texas
from isometry.trainers.optim import RiemannianAdam

WHERE = """--data: name a folder with cora.npz, texas.npz, coauthorship_cora.npz and cocitation_cora.npz; what is in
them and where it comes from is told by isometry.trainers.data.Cora, Texas and CoraHypergraph."""
RELATIONS: tuple[Literal["coauthorship", "cocitation"], ...] = ("coauthorship", "cocitation")
FLOORS = {"Cora": 0.606, "Texas": 0.814}  # logistic regression of scikit-learn on the words alone, on the same split


class Neighbourhoods(Cora):
    """Cora as a hypergraph: a hyperedge of each paper and those that it cites or is cited by."""

    def read(self) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
        """Return the hypergraph."""
        (x, edge_index, labels), nodes = super().read()
        own = torch.arange(len(x)).expand(2, -1)
        return (x, torch.cat([edge_index, own], 1), labels), nodes


class Expanded(TensorDataModule):
    """A graph's nodes with expanded features: as the expansion learns nothing, it runs once, and nodes are samples."""

    num_classes = 0

    def __init__(self, graph: Cora | Texas, expansion: FeatureExpansion) -> None:
        super().__init__(batch_size=10_000, seed=0)
        self.graph, self.expansion, self.num_classes = graph, expansion, graph.num_classes
        self.words = graph.parts["train"][0].shape[1]

    def read(self) -> tuple[tuple[Tensor, ...], Mapping[str, slice | Tensor]]:
        """Return the expanded features."""
        (x, edge_index, labels), nodes = self.graph.read()
        return (self.expansion(x, edge_index), labels), dict(nodes)


def hgnn(data: NodeDataModule) -> nn.Module:
    """Return the network for a hypergraph."""
    return HGNN(data.parts["train"][0].shape[1], 64, data.num_classes)


def fe_gnn(data: Expanded) -> nn.Module:
    """Return the network for expanded features, of which the head is all that learns."""
    return FEGNN(data.words, 64, data.num_classes, data.expansion.hops, data.expansion.structural, dropout=0.5).head


def accuracy(data: Any, network: Callable[[Any], nn.Module], decay: float, epochs: int, seed: int) -> float:
    """Train once; return the test accuracy of the epoch that is best in validation, or else of the last one."""
    pl.seed_everything(seed, verbose=False)
    task = Classification(network(data), data.num_classes, partial(RiemannianAdam, lr=1e-2, weight_decay=decay))
    validates = "val" in data.parts
    with tempfile.TemporaryDirectory() as folder:
        best: list[pl.Callback] = [ModelCheckpoint(folder, monitor="val/loss")] if validates else []
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            callbacks=best,
            logger=False,
            enable_checkpointing=validates,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(task, data)
        (result,) = trainer.test(task, data, ckpt_path="best" if validates else None, verbose=False)
    return result["test/accuracy"]


def make_up(folder: Path) -> None:
    """Write small graphs of noise in the formats of the data."""
    rng = np.random.default_rng(0)
    n, edges = 200, np.array([(i, i + 1) for i in range(199)])
    x: dict[str, Any] = {"x_data": np.ones(n), "x_indices": rng.integers(20, size=n)}
    x |= {"x_indptr": np.arange(n + 1), "x_shape": [n, 20], "y": rng.integers(5, size=n)}
    nodes: dict[str, Any] = {"train": np.arange(50), "val": np.arange(50, 100), "test": np.arange(100, n)}
    np.savez(folder / "cora.npz", edges=edges, **nodes, **x)
    for name in ("coauthorship", "cocitation"):
        np.savez(folder / f"{name}_cora.npz", incidence=edges, train_splits=[rng.permutation(n)[:140]] * 10, **x)
    pages: dict[str, Any] = {f"{part}{i}": rows for part, rows in nodes.items() for i in range(10)}
    np.savez(folder / "texas.npz", edges=edges, x=np.ones((n, 1703), np.uint8), y=x["y"], **pages)


def compare(folder: Path, epochs: int, runs: int, structural: int) -> dict[str, float]:
    """Train each network some times; print a table and return the mean accuracies."""
    where = {file.name: file.parent for file in folder.rglob("*.npz")}
    citations, web = where.get("cora.npz", folder), where.get("texas.npz", folder)
    words = Expanded(Cora(citations), FeatureExpansion(hops=3, structural=structural))
    pages = [Expanded(Texas(web, i), FeatureExpansion(hops=0, structural=structural // 2)) for i in range(runs)]
    rows: dict[str, tuple[Sequence[Any], Callable[[Any], nn.Module], float]] = {
        "Cora, citations: HGNN": ([Neighbourhoods(citations)] * runs, hgnn, 5e-4),
        "Cora, citations: FE-GNN": ([words] * runs, fe_gnn, 1e-2),
        "Texas: FE-GNN": (pages, fe_gnn, 5e-4),
    }
    for relation in RELATIONS:
        source = where.get(f"{relation}_cora.npz", folder)
        rows[f"Cora, {relation}: HGNN"] = ([CoraHypergraph(source, relation, i) for i in range(runs)], hgnn, 5e-4)
    print(f"{'':28}{'accuracy':>16}   floors: {FLOORS}")
    means = {}
    for name, (sets, network, decay) in rows.items():
        values = [accuracy(data, network, decay, epochs, seed) for seed, data in enumerate(sets)]
        means[name] = float(np.mean(values))
        print(f"{name:28}{means[name]:9.3f} +- {np.std(values):.3f}", flush=True)
    return means


def main(data: Path | None = None, runs: int = 5, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes made-up data for two epochs, to show that it runs."""
    torch.set_num_threads(1)
    if smoke:
        with tempfile.TemporaryDirectory() as folder:
            make_up(Path(folder))
            compare(Path(folder), 2, 1, structural=4)
    elif data is None:
        raise SystemExit(WHERE)
    elif not compare(data, 200, runs, structural=50)["Cora, citations: HGNN"] > FLOORS["Cora"] + 0.1:
        raise SystemExit("expected that citations tell more than words alone")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the files")
    parser.add_argument("--runs", type=int, default=5, help="trainings of each network: seeds, or splits up to 10")
    parser.add_argument("--smoke", action="store_true", help="two epochs on made-up data")
    main(**vars(parser.parse_args()))
