"""Facts of a tree, completed."""

from functools import partial
from pathlib import Path

import pytest
import torch

from isometry.manifolds import PoincareBall
from isometry.models import KGEmbedding
from isometry.trainers import KGCompletion
from isometry.trainers.data import KnowledgeGraph
from isometry.trainers.metrics import filtered_ranks
from isometry.trainers.optim import RiemannianAdam
from tests.trainers.callbacks.toy import in_two_processes, trainer


def graph(folder: Path) -> KnowledgeGraph:
    """Who is whose parent, and, to validate and test on, some of who is whose child."""
    down = [f"{(i - 1) // 2}\tparent\t{i}\n" for i in range(1, 31)]
    up = [f"{i}\tchild\t{(i - 1) // 2}\n" for i in range(1, 31)]
    facts = folder / "facts"
    facts.mkdir(exist_ok=True)
    for part, lines in (("train", down + up[:20]), ("valid", up[20:24]), ("test", up[24:])):
        (facts / f"{part}.txt").write_text("".join(lines))
    return KnowledgeGraph(facts, batch_size=20, num_negatives=16, eval_batch_size=5)


def task(seed: int = 0) -> KGCompletion:
    torch.manual_seed(seed)
    return KGCompletion(KGEmbedding(31, 4, PoincareBall(16, learnable=True)), partial(RiemannianAdam, lr=0.03))


def test_it_learns_what_two_relations_have_to_do_with_each_other(tmp_path: Path) -> None:
    module, data, run = task(), graph(tmp_path), trainer(tmp_path, max_epochs=60)
    run.fit(module, data)
    (tested,) = run.test(module, data, verbose=False)
    assert tested["test/mrr"] > 0.5  # by chance 0.13
    queries = data.parts["test"]
    scores = module.model(queries[:, 0], queries[:, 1], torch.arange(31)).detach()
    ranks = filtered_ranks(scores, queries[:, 2], data.known(queries)).double()
    assert tested["test/mrr"] == pytest.approx((1 / ranks).mean().item(), rel=1e-5)


def test_a_model_of_another_size_is_refused(tmp_path: Path) -> None:
    module = KGCompletion(KGEmbedding(30, 4, PoincareBall(4)), partial(RiemannianAdam, lr=0.03))
    with pytest.raises(ValueError, match="the model has num_entities=30, but the data 31"):
        trainer(tmp_path).fit(module, graph(tmp_path))


def in_ddp(rank: int, folder: Path) -> list[float]:
    module, run = task(), trainer(folder, devices=2, strategy="ddp")
    run.fit(module, graph(folder))
    return [p.sum().item() for p in module.model.parameters()]


def test_two_processes_are_as_one(tmp_path: Path) -> None:
    module, run = task(), trainer(tmp_path)
    run.fit(module, graph(tmp_path))
    expected = [p.sum().item() for p in module.model.parameters()]
    for found in in_two_processes(in_ddp, tmp_path):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
