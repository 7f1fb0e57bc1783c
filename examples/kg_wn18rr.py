"""
Complete a knowledge graph
==========================

Facts such as (hound, is a, dog) as isometries of hyperbolic space, each relation in a curvature of its own: RotH, RefH
and AttH, beside the same model in flat space. On UMLS (medicine) and kinship in minutes; on WN18RR at rank 32 for as
many epochs as ten minutes of one core have, which is less than the published runs took.

The data do not come with the library: name the folder of ``umls.tar.gz``, ``kinship.tar.gz`` and ``WN18RR.tar.gz``.
``--smoke`` makes up a small graph.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from isometry.manifolds import Euclidean, PoincareBall
from isometry.models import KGEmbedding
from isometry.trainers import KGCompletion
from isometry.trainers.data import KnowledgeGraph
from isometry.trainers.optim import RiemannianAdam

WHERE = """--data: name a folder with umls.tar.gz, kinship.tar.gz and WN18RR.tar.gz, which are in
github.com/TimDettmers/ConvE."""
RANK = 32
FLAT, CURVED = Euclidean(RANK), PoincareBall(RANK, upcast=False)
MODELS: dict[str, tuple[Any, Any]] = {
    "RotE (flat)": (FLAT, "rotation"),
    "RotH": (CURVED, "rotation"),
    "RefH": (CURVED, "reflection"),
    "AttH": (CURVED, "attention"),
}
METRICS = ("mrr", "hits@1", "hits@3", "hits@10")


def evaluate(graph: KnowledgeGraph, name: str, rate: float, epochs: int, seed: int = 0) -> dict[str, float]:
    """Train a model for so many epochs; return the filtered metrics on the test's facts."""
    pl.seed_everything(seed, verbose=False)
    model = KGEmbedding(graph.num_entities, graph.num_relations, *MODELS[name])
    task = KGCompletion(model, partial(RiemannianAdam, lr=rate), partial(CosineAnnealingLR, T_max=epochs))
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(task, graph)
    (result,) = trainer.test(task, graph, verbose=False)
    return {metric: result[f"test/{metric}"] for metric in METRICS}


def show(graph: KnowledgeGraph, title: str, names: list[str], rate: float, epochs: int) -> dict[str, float]:
    """Print a row for each model; return the reciprocal ranks."""
    found = {}
    for name in names:
        start = time.process_time()
        values = evaluate(graph, name, rate, epochs)
        found[name] = values["mrr"]
        numbers = "".join(f"{values[metric]:9.3f}" for metric in METRICS)
        print(f"{title:10}{name:14}{numbers}{time.process_time() - start:9.0f} s", flush=True)
    return found


def make_up(path: Path) -> None:
    """Write the facts of a small tree."""
    path.mkdir()
    facts = [f"{i}\tis a\t{(i - 1) // 2}\n" for i in range(1, 40)]
    for part, lines in (("train", facts[:30]), ("valid", facts[30:34]), ("test", facts[34:])):
        (path / f"{part}.txt").write_text("".join(lines))


def main(data: Path | None = None, wn18rr_epochs: int = 20, smoke: bool = False) -> None:
    """Run the example; ``smoke`` takes a made-up graph for two epochs, to show that it runs."""
    torch.set_num_threads(1)
    print(f"{'':24}" + "".join(f"{metric:>9}" for metric in METRICS) + "  CPU time")
    if smoke:
        with tempfile.TemporaryDirectory() as folder:
            make_up(Path(folder) / "tree")
            show(KnowledgeGraph(Path(folder) / "tree", 8, num_negatives=8), "tree", list(MODELS), 1e-2, 2)
        return
    if data is None:
        raise SystemExit(WHERE)
    found = {}
    for name, epochs in (("umls", 40), ("kinship", 40)):
        found[name] = show(KnowledgeGraph(data / f"{name}.tar.gz", 500), name, list(MODELS), 1e-2, epochs)
    if wn18rr_epochs:
        large = KnowledgeGraph(data / "WN18RR.tar.gz", 500, num_negatives=500)
        show(large, "WN18RR", ["RotH"], 1e-2, wn18rr_epochs)
        print("published, WN18RR at rank 32: RotH .473, hits@10 .551 (README of the authors' code)")
    if not found["umls"]["RotH"] > 0.8:
        raise SystemExit("expected that most of UMLS's facts are completed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of the archives")
    parser.add_argument("--wn18rr-epochs", type=int, default=20, help="0 leaves WN18RR out")
    parser.add_argument("--smoke", action="store_true", help="two epochs on a made-up graph")
    main(**vars(parser.parse_args()))
