"""Links of a tree, by a network in hyperbolic space."""

from functools import partial
from pathlib import Path

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from isometry.manifolds import PoincareBall
from isometry.models import HGCN
from isometry.trainers import LinkPrediction
from isometry.trainers.data import LinkDataModule, balanced_tree
from isometry.trainers.optim import RiemannianAdam
from tests.trainers.callbacks.toy import in_two_processes, trainer

TREE = balanced_tree(3, 3)


def data() -> LinkDataModule:
    return LinkDataModule(torch.eye(TREE.num_nodes), TREE.edges, 0.2, 0.2)


def task(rate: float = 0.02) -> LinkPrediction:
    torch.manual_seed(0)
    spaces = [PoincareBall(6, learnable=True), PoincareBall(6, learnable=True)]
    return LinkPrediction(HGCN(TREE.num_nodes, spaces, aggregation="tangent"), partial(RiemannianAdam, lr=rate))


def test_it_learns_links(tmp_path: Path) -> None:
    module, run = task(), trainer(tmp_path, max_epochs=60)
    run.fit(module, data())
    first = trainer(tmp_path, max_epochs=1)
    first.fit(task(), data())
    assert run.callback_metrics["train/loss"] < first.callback_metrics["train/loss"] / 2


def test_what_is_logged_is_what_scikit_learn_computes(tmp_path: Path) -> None:
    module, run, links = task(), trainer(tmp_path, max_epochs=3), data()
    run.fit(module, links)
    (tested,) = run.test(module, links, verbose=False)
    ((x, index, pairs, joined),) = links.test_dataloader()
    u, v = module.model(x, index).detach()[pairs].unbind(1)
    logits = 2 - module.model.manifold.dist(u, v).detach() ** 2  # type: ignore[operator, union-attr]
    assert tested["test/auc"] == pytest.approx(roc_auc_score(joined, logits), abs=1e-6)
    assert tested["test/average_precision"] == pytest.approx(average_precision_score(joined, logits), abs=1e-6)
    expected = binary_cross_entropy_with_logits(logits, joined.float()).item()
    assert tested["test/loss"] == pytest.approx(expected, rel=1e-5)


def in_ddp(rank: int, folder: Path) -> list[float]:
    module, run = task(), trainer(folder, devices=2, strategy="ddp")
    run.fit(module, data())
    return [p.sum().item() for p in module.model.parameters()] + [run.callback_metrics["val/auc"].item()]


def test_two_processes_are_as_one(tmp_path: Path) -> None:
    module, run = task(), trainer(tmp_path)
    run.fit(module, data())
    expected = [p.sum().item() for p in module.model.parameters()] + [run.callback_metrics["val/auc"].item()]
    for found in in_two_processes(in_ddp, tmp_path):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
