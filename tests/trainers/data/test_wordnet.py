import os
from pathlib import Path

import pytest
import torch

from isometry.trainers.data import Graph, mammals_of, read_graph, read_wordnet_nouns, wordnet_mammals

WORDNET = Path(os.environ.get("ISOMETRY_WORDNET", "/usr/share/wordnet"))

# "Rex" is an instance of a dog; "rexling", a kind of Rex, is by the published rule not what Rex is.
DATA = """\
  1 The licence stands in lines that begin with two blanks.
00000010 03 n 01 entity 0 001 ~ 00000020 n 0000 | that which is
00000020 05 n 02 animal 0 beast 0 002 @ 00000010 n 0000 + 00000099 v 0101 | it moves; "a @ in a gloss"
00000030 05 n 01 Dog 0 001 @ 00000020 n 0000 | it barks
00000040 05 n 01 dog 1 001 @ 00000010 n 0000 | a dull person
00000050 18 n 01 Rex 0 001 @i 00000030 n 0000 | a dog
00000060 05 n 01 rexling 0 001 @ 00000050 n 0000 | a small Rex
"""
INDEX = """\
  1 The licence stands in lines that begin with two blanks.
animal n 1 1 @ 1 0 00000020
beast n 1 1 @ 1 0 00000020
dog n 2 1 @ 2 1 00000030 00000040
entity n 1 1 ~ 1 0 00000010
rex n 1 1 @i 1 0 00000050
rexling n 1 1 @ 1 0 00000060
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data.noun").write_text(DATA)
    (tmp_path / "index.noun").write_text(INDEX)
    return tmp_path


def test_closure_follows_the_published_rule(folder: Path) -> None:
    graph = read_graph(folder)
    assert graph.names == ("animal.n.01", "dog.n.01", "dog.n.02", "entity.n.01", "rex.n.01", "rexling.n.01")
    assert {(graph.names[u], graph.names[v]) for u, v in graph.edges.tolist()} == {
        ("animal.n.01", "entity.n.01"),
        ("dog.n.01", "animal.n.01"),
        ("dog.n.01", "entity.n.01"),
        ("dog.n.02", "entity.n.01"),
        ("rex.n.01", "dog.n.01"),
        ("rex.n.01", "animal.n.01"),
        ("rex.n.01", "entity.n.01"),
        ("rexling.n.01", "rex.n.01"),
    }


@pytest.mark.parametrize("name", ["data.noun", "index.noun"])
def test_missing_file_says_where_to_get_it(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}: no such file; .*wordnet-base.*wordnet@2.0.0"):
        read_wordnet_nouns(folder)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("data.noun", "03 n 01 entity", "03 n zz entity", "data.noun:2: expected 'offset lex n w_cnt"),
        ("data.noun", "001 @ 00000020 n 0000 | it barks", "002 @ 00000020 n 0000 | it barks", "data.noun:4: expected"),
        ("data.noun", "@i 00000030", "@i 00000031", "rex.n.01 points to 00000031, which is not there"),
        ("index.noun", "rex n 1 1", "rex n", "index.noun:6: expected 'lemma pos synset_cnt"),
        ("index.noun", "00000060", "00000061", "data.noun:7: 'rexling' at 00000060 is not in index.noun"),
    ],
)
def test_malformed_line_is_named(folder: Path, name: str, old: str, new: str, message: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_wordnet_nouns(folder)


def test_shipped_mammals() -> None:
    mammals = wordnet_mammals()
    assert (mammals.num_nodes, len(mammals.edges)) == (1180, 6540)
    assert torch.equal(mammals.transitive_closure().edges, mammals.edges)
    (root,) = set(range(1180)) - set(mammals.edges[:, 0].tolist())
    assert mammals.names[root] == "mammal.n.01"


def test_mammals_are_below_the_root() -> None:
    pairs = [("dog.n.01", "mammal.n.01"), ("female_mammal.n.01", "mammal.n.01"), ("tusker.n.01", "mammal.n.01")]
    nouns = Graph.from_names([*pairs, ("mammal.n.01", "animal.n.01"), ("dog.n.01", "animal.n.01")])
    mammals = mammals_of(nouns)
    assert mammals.names == ("dog.n.01", "mammal.n.01")
    assert mammals.edges.tolist() == [[0, 1]]
    with pytest.raises(ValueError, match=r"the nouns of WordNet 3.0, but \['female_mammal.n.01', 'mammal.n.01'"):
        mammals_of(Graph.from_names([("a", "b")]))


@pytest.mark.slow
@pytest.mark.skipif(
    not WORDNET.is_dir(),
    reason=f"no WordNet 3.0 in {WORDNET}: install Debian's wordnet-base or set ISOMETRY_WORDNET to its folder",
)
def test_wordnet_has_the_published_numbers() -> None:
    nouns = read_wordnet_nouns(WORDNET)
    assert (nouns.num_nodes, len(nouns.edges)) == (82115, 743086)
    assert len(nouns.transitive_closure().edges) == 743241  # both pointers alike
    mammals, shipped = mammals_of(nouns), wordnet_mammals()
    assert mammals.names == shipped.names
    assert torch.equal(mammals.edges, shipped.edges)
