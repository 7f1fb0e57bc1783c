"""A table of a million points on two processes: rows distributed over them, and replicated by DDP.

Both train through Lightning on the same batches of a random recursive tree, with the same numbers. Times are those of
the clock and mean something only where each process has a core of its own.

    python -m benchmarks.sharded_embedding     # writes benchmarks/results/sharded_embedding.json
    python -m benchmarks.sharded_embedding --quick    # 10,000 points, printed and not saved
"""

import argparse
import json
import os
import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.multiprocessing.spawn import spawn

from benchmarks.embedding_race import RESULTS, machine
from isometry.layers import ShardedEmbedding
from isometry.manifolds import PoincareBall
from isometry.models import NodeEmbedding
from isometry.trainers import GraphEmbedding
from isometry.trainers.data import Graph, GraphDataModule
from isometry.trainers.losses import RankingLoss
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD

NODES, DIM, PROCESSES, BATCH, NEGATIVES, STEPS = 1_000_000, 16, 2, 1000, 10, 200
OPTIMIZERS: dict[str, Any] = {"SGD": partial(RiemannianSGD, lr=1.0), "Adam": partial(RiemannianAdam, lr=0.01)}


def tree(nodes: int) -> Graph:
    """Return a random recursive tree: each node hangs on one of those before it."""
    child = torch.arange(1, nodes)
    parent = (torch.rand(nodes - 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * child).long()
    return Graph(torch.stack([child, parent], -1), nodes)


class Clock(pl.Callback):
    """The time of the steps after the first ten."""

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Start, or note."""
        if trainer.global_step == 10:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - self.start if trainer.global_step > 10 else 0.0


def work(rank: int, folder: str, strategy: str, optimizer: str, nodes: int, steps: int) -> None:
    """Train in one of the processes, and write what was measured."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531", "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = NodeEmbedding(nodes, PoincareBall(DIM), device="meta" if strategy == "row_sharded" else None)
    module = GraphEmbedding(model, RankingLoss(), OPTIMIZERS[optimizer], burn_in_epochs=0, fused=False)
    clock = Clock()
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=PROCESSES,
        strategy=strategy,
        callbacks=[clock],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    graph = tree(nodes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer.fit(module, GraphDataModule(graph, BATCH, NEGATIVES, burn_in_epochs=0))
    table = module.model.nodes
    whole = table.gather() if isinstance(table, ShardedEmbedding) else table.weight.detach()
    state = [v for s in trainer.optimizers[0].state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    if rank == 0:
        result = {
            "pairs per second": BATCH * (steps - 10) / clock.seconds,
            "table and state of a process, MB": (table.weight.nbytes + sum(v.nbytes for v in state)) / 1e6,
            "peak memory of a process, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
            "of which before training, MB": before / 1e3,
        }
        torch.save(whole, Path(folder, f"{strategy}.pt"))
        Path(folder, f"{strategy}.json").write_text(json.dumps(result))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def main() -> None:
    """Run both ways, compare the tables, and write the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 points, printed and not saved")
    quick = parser.parse_args().quick
    nodes, steps = (10_000, 30) if quick else (NODES, STEPS)
    results: dict[str, Any] = {}
    for optimizer in OPTIMIZERS:
        with tempfile.TemporaryDirectory() as folder:
            for strategy in ("ddp", "row_sharded"):
                given = (folder, strategy, optimizer, nodes, steps)
                spawn(work, given, PROCESSES)
                results[f"{optimizer}, {strategy}"] = json.loads(Path(folder, f"{strategy}.json").read_text())
            tables = [torch.load(Path(folder, f"{s}.pt"), weights_only=True) for s in ("ddp", "row_sharded")]
            results[f"{optimizer}, equal to the last bit"] = torch.equal(*tables)
    rows = BATCH * (2 + NEGATIVES)
    results["bytes over the wire in a step, at most"] = rows * (8 + 2 * 4 * DIM)
    print(json.dumps(results, indent=1))
    if not quick:
        text = json.dumps(
            {"machine": machine(), "nodes": NODES, "dim": DIM, "processes": PROCESSES, **results}, indent=1
        )
        (RESULTS / "sharded_embedding.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
