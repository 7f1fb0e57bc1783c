import tarfile
from pathlib import Path

import pytest
import torch

from isometry.trainers.data import KnowledgeGraph

FACTS = {
    "train": [("b", "is", "a"), ("c", "is", "a"), ("d", "is", "b"), ("a", "likes", "b"), ("a", "likes", "d")],
    "valid": [("a", "likes", "c")],
    "test": [("e", "is", "a")],  # e is nowhere else
}


def write(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for part, facts in FACTS.items():
        (folder / f"{part}.txt").write_text("".join("\t".join(fact) + "\n" for fact in facts))
    return folder


@pytest.fixture
def graph(tmp_path: Path) -> KnowledgeGraph:
    return KnowledgeGraph(write(tmp_path / "facts"), batch_size=4, num_negatives=2, eval_batch_size=3)


def test_every_fact_is_asked_in_both_directions(graph: KnowledgeGraph) -> None:
    assert graph.entities == ["a", "b", "c", "d", "e"]
    assert (graph.num_entities, graph.num_relations) == (5, 4)
    assert graph.parts["test"].tolist() == [[4, 0, 0], [0, 2, 4]]
    assert {part: len(queries) for part, queries in graph.parts.items()} == {"train": 10, "valid": 2, "test": 2}


def test_known_answers_are_those_of_all_parts(graph: KnowledgeGraph) -> None:
    every = torch.cat(list(graph.parts.values())).tolist()
    queries = torch.cat(list(graph.parts.values()))
    found = {tuple(pair) for pair in graph.known(queries).tolist()}
    expected = {(i, t) for i, (h, r, _) in enumerate(queries.tolist()) for a, b, t in every if (a, b) == (h, r)}
    assert found == expected
    assert graph.known(torch.tensor([[4, 3, 0]])).shape == (0, 2)


def test_an_epoch_has_every_query_once_and_its_answer_among_the_candidates(graph: KnowledgeGraph) -> None:
    loader = graph.train_dataloader()
    seen = []
    for head, relation, candidates, target in loader:
        assert torch.equal(candidates, candidates.unique())
        seen += list(zip(head.tolist(), relation.tolist(), candidates[target].tolist(), strict=True))
    assert sorted(seen) == sorted(map(tuple, graph.parts["train"].tolist()))
    again = [batch[0].tolist() for batch in graph.train_dataloader()]
    assert again == [batch[0].tolist() for batch in graph.train_dataloader()]


def test_all_entities_are_candidates_by_default(tmp_path: Path) -> None:
    for _, _, candidates, _ in KnowledgeGraph(write(tmp_path / "facts")).train_dataloader():
        assert candidates.tolist() == [0, 1, 2, 3, 4]


def test_an_archive_is_as_the_folder(tmp_path: Path, graph: KnowledgeGraph) -> None:
    with tarfile.open(tmp_path / "facts.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "facts", arcname="any")
    packed = KnowledgeGraph(tmp_path / "facts.tar.gz")
    assert packed.entities == graph.entities
    assert all(torch.equal(packed.parts[part], graph.parts[part]) for part in graph.parts)


def test_what_is_no_knowledge_graph_is_refused(tmp_path: Path, graph: KnowledgeGraph) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a folder, or an archive .*train\.txt"):
        KnowledgeGraph(tmp_path / "nothing").setup("fit")
    with tarfile.open(tmp_path / "short.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "facts" / "train.txt", arcname="train.txt")
    with pytest.raises(ValueError, match=r"but valid\.txt, test\.txt are missing"):
        KnowledgeGraph(tmp_path / "short.tar.gz").setup("fit")
    (tmp_path / "facts" / "valid.txt").write_text("a\tlikes\n")
    with pytest.raises(ValueError, match=r"line 1 of valid\.txt has 2 entries"):
        KnowledgeGraph(tmp_path / "facts").setup("fit")
