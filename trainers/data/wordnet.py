"""Hierarchies from WordNet's own database files, and the one that comes with the library."""

import os
from importlib.resources import as_file, files
from pathlib import Path

import torch

from isometry.trainers.data.edge_list import existing_file, read_csv
from isometry.trainers.data.graph import Graph

_WHERE = "a file of WordNet 3.0: Debian package wordnet-base, npm package wordnet@2.0.0, or wordnet.princeton.edu"
_CLASS, _INSTANCE = "@", "@i"
_MAMMAL = "mammal.n.01"
_UNPUBLISHED_MAMMALS = ("female_mammal.n.01", "tusker.n.01")


def read_wordnet_nouns(folder: str | os.PathLike[str]) -> Graph:
    r"""Read the transitive closure of "is a" among the nouns of a folder with WordNet's ``data.noun``, ``index.noun``.

    With C the relation to a hypernym (pointer ``@``) and I to what something is an instance of (``@i``), the closure is

    .. math:: C^+ \cup I^+ \cup I^+ C^+

    so that a kind of an instance is not what the instance is: 743,086 edges for WordNet 3.0, as in the published
    script; 743,241 if both pointers were followed alike, as the paper counts.

    Args:
        folder: Of the database files, in the format of wndb(5WN).

    Returns:
        The graph; nodes are named as in NLTK (``dog.n.01``) and numbered in the order of their names.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a line is malformed; file and line are in the message.

    Source: Nickel & Kiela 2017, section 4.1, and its published script.
    """
    folder = Path(folder)
    senses = _read_senses(folder / "index.noun")
    names, pointers = _read_synsets(folder / "data.noun", senses)
    offsets = sorted(names, key=names.__getitem__)
    number = {offset: i for i, offset in enumerate(offsets)}
    ordered_names = tuple(names[offset] for offset in offsets)
    classes, instances = (
        Graph(
            torch.tensor([(number[u], number[v]) for u, v in pointers[kind]], dtype=torch.int64).view(-1, 2),
            len(offsets),
            ordered_names,
        ).transitive_closure()
        for kind in (_CLASS, _INSTANCE)
    )
    return classes.union(instances, instances.compose(classes))


def mammals_of(nouns: Graph) -> Graph:
    """Return the published subtree of WordNet's mammals: ``mammal.n.01`` and the nouns that are one, but for two.

    Raises:
        ValueError: If the nouns are not those of WordNet 3.0.
    """
    if missing := {_MAMMAL, *_UNPUBLISHED_MAMMALS} - set(nouns.names):
        raise ValueError(
            f"mammals_of: expected the nouns of WordNet 3.0, but {sorted(missing)} is not among the names."
        )
    root = nouns.names.index(_MAMMAL)
    keep = torch.zeros(nouns.num_nodes, dtype=torch.bool)
    keep[nouns.edges[nouns.edges[:, 1] == root, 0]] = True
    keep[[nouns.names.index(name) for name in _UNPUBLISHED_MAMMALS]] = False
    keep[root] = True
    return nouns.subgraph(keep)


def wordnet_mammals() -> Graph:
    """Return WordNet's mammals (1,180 nodes, 6,540 edges) from the shipped file; its LICENSE is beside it."""
    with as_file(files("isometry.trainers.data") / "wordnet_mammals" / "mammal_closure.csv") as path:
        return read_csv(path)


def _read_senses(path: Path) -> dict[tuple[str, str], int]:
    """Return the sense number of every (word, synset offset)."""
    senses: dict[tuple[str, str], int] = {}
    for number, line in _records(path):
        fields = line.split()
        try:
            offsets = fields[-int(fields[2]) :]
        except (IndexError, ValueError):
            raise _malformed(path, number, line, "lemma pos synset_cnt p_cnt ... synset_offset ...") from None
        senses |= {(fields[0], offset): sense for sense, offset in enumerate(offsets, 1)}
    return senses


def _read_synsets(
    path: Path, senses: dict[tuple[str, str], int]
) -> tuple[dict[str, str], dict[str, list[tuple[str, str]]]]:
    """Return the name of every synset offset, and the pairs (child, parent) of each kind of pointer."""
    names: dict[str, str] = {}
    pointers: dict[str, list[tuple[str, str]]] = {_CLASS: [], _INSTANCE: []}
    for number, line in _records(path):
        fields = line.partition(" | ")[0].split()
        try:
            offset, words = fields[0], int(fields[3], 16)
            word = fields[4].lower()
            first = 5 + 2 * words
            count = int(fields[first - 1])
            symbols, targets = fields[first::4][:count], fields[first + 1 :: 4][:count]
            if len(fields) != first + 4 * count:
                raise IndexError
        except (IndexError, ValueError):
            raise _malformed(path, number, line, "offset lex n w_cnt word lex_id ... p_cnt ptr ... | gloss") from None
        if (word, offset) not in senses:
            raise ValueError(f"{path}:{number}: {word!r} at {offset} is not in index.noun; are both of one WordNet?")
        names[offset] = f"{word}.n.{senses[word, offset]:02d}"
        for symbol, target in zip(symbols, targets, strict=True):
            if symbol in pointers:
                pointers[symbol].append((offset, target))
    for child, parent in pointers[_CLASS] + pointers[_INSTANCE]:
        if parent not in names:
            raise ValueError(f"{path}: {names[child]} points to {parent}, which is not there; is the file complete?")
    return names, pointers


def _records(path: Path) -> list[tuple[int, str]]:
    """Return the numbered lines after the licence, whose lines begin with two blanks."""
    lines = existing_file(path, _WHERE).read_text(encoding="utf-8").splitlines()
    return [(number, line) for number, line in enumerate(lines, 1) if not line.startswith("  ")]


def _malformed(path: Path, number: int, line: str, expected: str) -> ValueError:
    return ValueError(f"{path}:{number}: expected {expected!r}, but got {line[:80]!r}.")
