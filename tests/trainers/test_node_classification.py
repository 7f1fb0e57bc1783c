"""Classification of the nodes of one graph, of which each part has the labels of some."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from isometry.models import HGNN
from isometry.trainers import Classification
from isometry.trainers.data import NodeDataModule
from isometry.trainers.data.sample_batches import Samples
from isometry.trainers.optim import RiemannianSGD
from tests.trainers.callbacks.toy import in_two_processes, trainer


class Communities(NodeDataModule):
    """Forty nodes in four hyperedges, each of which has a class."""

    num_classes = 4

    def read(self) -> tuple[Samples, Mapping[str, Tensor]]:
        nodes = torch.arange(40)
        features = torch.randn(40, 12, generator=torch.Generator().manual_seed(1))
        parts = {"train": nodes[::5], "val": nodes[1::5], "test": torch.cat([nodes[2::5], nodes[3::5]])}
        return (features, torch.stack([nodes, nodes // 10]), nodes // 10), parts


def task(rate: float = 0.5) -> Classification:
    torch.manual_seed(0)
    return Classification(HGNN(12, 8, 4, dropout=0.0), 4, partial(RiemannianSGD, lr=rate, momentum=0.9))


def test_it_learns_from_the_labels_of_a_part(tmp_path: Path) -> None:
    module, run = task(), trainer(tmp_path, max_epochs=60)
    run.fit(module, Communities())
    assert run.callback_metrics["train/loss"] < 0.05
    assert run.callback_metrics["val/accuracy"] == 1
    (tested,) = run.test(module, Communities(), verbose=False)
    assert tested["test/accuracy"] == 1


def test_what_is_logged_is_of_the_labelled_nodes_only(tmp_path: Path) -> None:
    module = task(rate=0.0)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(module, Communities())
    (x, index, labels), parts = Communities().read()
    logits = module.model(x, index).detach()
    for part in ("train", "val"):
        expected = nn.functional.cross_entropy(logits[parts[part]], labels[parts[part]]).item()
        assert run.callback_metrics[f"{part}/loss"].item() == pytest.approx(expected, rel=1e-6)
    right = (logits.argmax(1) == labels)[parts["val"]].double()
    assert run.callback_metrics["val/accuracy"].item() == pytest.approx(right.mean().item())
    recalls = [right[labels[parts["val"]] == c].mean().item() for c in range(4)]
    assert run.callback_metrics["val/balanced_accuracy"].item() == pytest.approx(sum(recalls) / 4)


def in_ddp(rank: int, folder: Path) -> list[float]:
    module, run = task(), trainer(folder, devices=2, strategy="ddp")
    run.fit(module, Communities())
    return [p.sum().item() for p in module.model.parameters()] + [run.callback_metrics["val/loss"].item()]


def test_two_processes_are_as_one(tmp_path: Path) -> None:
    module, run = task(), trainer(tmp_path)
    run.fit(module, Communities())
    expected = [p.sum().item() for p in module.model.parameters()] + [run.callback_metrics["val/loss"].item()]
    for found in in_two_processes(in_ddp, tmp_path):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
