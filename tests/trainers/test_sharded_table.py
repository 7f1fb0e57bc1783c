"""A table whose rows are distributed over two processes trains as a whole one does, to the last bit."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from isometry.layers import Embedding, ShardedEmbedding
from isometry.manifolds import Lorentz, PoincareBall
from isometry.models import NodeEmbedding
from isometry.trainers import GraphEmbedding
from isometry.trainers.callbacks import RiemannianEMA
from isometry.trainers.data import GraphDataModule, balanced_tree
from isometry.trainers.losses import RankingLoss
from isometry.trainers.metrics import Reconstruction
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD
from tests.trainers.callbacks.toy import in_two_processes, trainer

CLOSURE = balanced_tree(3, 3).transitive_closure()  # 40 nodes, of which the second process has 20; roots occur often


def task(optimizer: Any, device: str | None = None) -> GraphEmbedding:
    torch.manual_seed(7)
    model = NodeEmbedding(39, Lorentz(3), init_scale=0.1, dtype=torch.float32, device=device)
    metrics = [Reconstruction(closure())]
    return GraphEmbedding(model, RankingLoss(), optimizer, metrics, burn_in_epochs=1, fused=False)


def closure() -> Any:
    """The closure without its last leaf: 39 rows do not divide by two."""
    edges = CLOSURE.edges[(CLOSURE.edges < 39).all(-1)]
    return type(CLOSURE)(edges, 39)


def data() -> GraphDataModule:
    return GraphDataModule(closure(), batch_size=10, num_negatives=4, burn_in_epochs=1)


def fit(folder: str, module: GraphEmbedding, epochs: int, resume: str | None = None, **options: Any) -> dict[str, Any]:
    """Return the checkpoint at the end, and what was logged."""
    made = trainer(folder, max_epochs=epochs, check_val_every_n_epoch=epochs, **options)
    made.fit(module, data(), ckpt_path=resume, weights_only=True)
    made.save_checkpoint(Path(folder, "last.ckpt"))
    saved: dict[str, Any] = torch.load(Path(folder, "last.ckpt"), weights_only=True)
    return {
        "rows": len(module.model.nodes.weight),
        "state": {name: value.tolist() for name, value in saved["state_dict"].items() if isinstance(value, Tensor)},
        "moments": [value.tolist() for value in _tensors(saved["optimizer_states"][0]["state"])],
        "logged": {name: value.item() for name, value in made.callback_metrics.items()},
    }


def _tensors(state: dict[int, dict[str, Any]]) -> list[Tensor]:
    return [value for values in state.values() for value in values.values() if isinstance(value, Tensor)]


OPTIMIZERS = {
    "sgd": partial(RiemannianSGD, lr=2.0),
    "adam": partial(RiemannianAdam, lr=0.05),
}


def twice(rank: int, folder: str, name: str) -> Any:
    """A whole table and a distributed one."""
    return {
        strategy: fit(f"{folder}/{strategy}", task(OPTIMIZERS[name]), 3, devices=2, strategy=strategy)
        for strategy in ("ddp", "row_sharded")
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_halves_are_a_whole(tmp_path: Path, name: str) -> None:
    """The numbers of DDP, to the last bit; and the checkpoint is one that a single process goes on with."""
    first, second = in_two_processes(twice, str(tmp_path), name)
    assert isinstance(first, dict), first
    assert isinstance(second, dict), second
    whole, sharded = first["ddp"], first["row_sharded"]
    assert (whole["rows"], sharded["rows"], second["row_sharded"]["rows"]) == (39, 20, 19)
    assert sharded["state"] == whole["state"]
    assert sharded["moments"] == whole["moments"]
    assert sharded["logged"]["val/map"] == whole["logged"]["val/map"]

    alone = fit(f"{tmp_path}/alone", task(OPTIMIZERS[name]), 4, f"{tmp_path}/row_sharded/last.ckpt")
    assert alone["rows"] == 39
    assert alone["state"] != whole["state"]  # it went on


def in_parts(rank: int, folder: str) -> Any:
    """A table that is drawn where it is trained, at once, and interrupted after two of three epochs."""
    os.environ.pop("PL_GLOBAL_SEED", None)  # of another test; Lightning would seed again before the table is drawn
    optimizer = OPTIMIZERS["adam"]
    two: dict[str, Any] = {"devices": 2, "strategy": "row_sharded"}
    at_once = fit(f"{folder}/once", task(optimizer, device="meta"), 3, **two)
    fit(f"{folder}/part", task(optimizer), 2, **two)
    return at_once, fit(f"{folder}/resumed", task(optimizer, device="meta"), 3, f"{folder}/part/last.ckpt", **two)


def test_it_resumes_to_the_last_bit(tmp_path: Path) -> None:
    first, _ = in_two_processes(in_parts, str(tmp_path))
    assert isinstance(first, tuple), first
    assert first[0] == first[1]


def layer_worker(rank: int, _: str) -> Any:
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    table = Embedding(7, PoincareBall(2), init_scale=0.3, dtype=torch.float64)
    layer = ShardedEmbedding(table)
    index = torch.tensor([[6, 0, 6], [3, 4, 0]])[: 2 - rank]  # batches of two sizes
    out = layer(index)
    (out.square().sum() * (rank + 1)).backward()
    wrong = ""
    try:
        layer(torch.tensor([7]))
    except IndexError as error:
        wrong = str(error)
    errors = [wrong]
    for bad in (Embedding(1, PoincareBall(2)), Embedding(4, PoincareBall(2, learnable=True))):
        try:
            ShardedEmbedding(bad)
        except ValueError as error:
            errors.append(str(error))
    assert layer.weight.grad is not None
    result = {
        "output": torch.equal(out, table(index)),
        "whole": torch.equal(layer.gather(), table.weight),
        "grad": layer.weight.grad.to_dense().tolist(),
        "weight": layer.weight.tolist(),
        "errors": errors,
        "repr": repr(layer),
    }
    torch.distributed.destroy_process_group()
    return result


def test_a_layer_gives_rows_and_takes_gradients(tmp_path: Path) -> None:
    first, second = in_two_processes(layer_worker, str(tmp_path))
    assert isinstance(first, dict), first
    for result in (first, second):
        assert result["output"]
        assert result["whole"]
        assert "expected indices in [0, 7), but got 7 to 7" in result["errors"][0]
        assert "use fewer" in result["errors"][1]
        assert "expected a fixed curvature" in result["errors"][2]
    assert "rows 4 to 6" in second["repr"]
    # How often each row occurs in a batch, weighted by its loss, averaged over processes.
    counts = [(2 + 2) / 2, 0, 0, 1 / 2, 1 / 2, 0, (2 + 2 * 2) / 2]
    for result, start in ((first, 0), (second, 4)):
        for i, (row, point) in enumerate(zip(result["grad"], result["weight"], strict=True)):
            assert row == pytest.approx([2 * counts[start + i] * x for x in point], rel=1e-14)


def test_a_table_needs_processes() -> None:
    with pytest.raises(RuntimeError, match="is not initialised"):
        ShardedEmbedding(Embedding(4, PoincareBall(2)))


def refused(rank: int, folder: str) -> str:
    module = task(partial(RiemannianSGD, lr=1.0))
    callbacks: list[pl.Callback] = [RiemannianEMA()] if folder == "average" else []
    clip = {"gradient_clip_val": 1.0} if folder == "clip" else {}
    try:
        trainer(".", *callbacks, devices=2, strategy="row_sharded", **clip).fit(module, data())
    except ValueError as error:
        return str(error)
    return "nothing"


@pytest.mark.parametrize("case", ["clip", "average"])
def test_what_would_see_one_share_is_refused(case: str) -> None:
    for message in in_two_processes(refused, case):
        assert "expected no gradient clipping and no average of the weights" in message
