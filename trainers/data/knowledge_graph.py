"""The Lightning data module of a knowledge graph."""

import os
import tarfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from isometry.trainers.data.epochs import Epochs
from isometry.trainers.data.process_share import SharedDataModule

PARTS = ("train", "valid", "test")
_EXPECTED = "a folder, or an archive *.tar.gz, of train.txt, valid.txt and test.txt with lines head, relation, tail"
TrainingBatch = tuple[Tensor, Tensor, Tensor, Tensor]
Queries = tuple[Tensor, Tensor, Tensor, Tensor]


def _lines(path: Path) -> dict[str, list[str]]:
    """Return the lines of each part's file."""
    names = [f"{part}.txt" for part in PARTS]
    if path.is_dir() and all((path / name).is_file() for name in names):
        texts = [(path / name).read_text("utf-8") for name in names]
    elif path.is_file() and tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            files = {Path(member.name).name: member for member in archive if member.isfile()}
            if missing := [name for name in names if name not in files]:
                raise ValueError(f"{path}: expected {_EXPECTED}; but {', '.join(missing)} are missing.")
            contents = [archive.extractfile(files[name]) for name in names]
            texts = [content.read().decode("utf-8") for content in contents if content is not None]
    else:
        raise FileNotFoundError(f"{path}: expected {_EXPECTED}; but that is not there.")
    return dict(zip(PARTS, (text.splitlines() for text in texts), strict=True))


class KnowledgeGraph(SharedDataModule):
    """Facts (head, relation, tail), each also asked backwards, and all facts to filter answers by.

    The fact ``(h, r, t)`` is the queries ``(h, r, ?)`` and ``(t, r + R, ?)``, with R relations in the files. A training
    batch is ``(head, relation, candidates, target)``: ``target`` is the right answers' places among ``candidates``. A
    validation or test batch is ``(head, relation, tail, known)``, as ``filtered_ranks`` takes them. Entities and
    relations are numbered in the order of their names.

    Args:
        path: A folder, or an archive ``*.tar.gz``, of ``train.txt``, ``valid.txt`` and ``test.txt``, whose lines are
            head, relation and tail with tabs between: WN18RR, FB15k-237, UMLS, kinship.
        batch_size: Queries of a training batch, over all processes together.
        num_negatives: The candidates of a batch are the right answers and so many entities; all by default.
        eval_batch_size: Queries of a validation or test batch, each ranking all entities.
        seed: Of order and negatives.

    Source: Dettmers, Minervini, Stenetorp & Riedel 2018, ConvE (files); Lacroix, Usunier & Obozinski 2018 (queries).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        batch_size: int = 500,
        num_negatives: int | None = None,
        eval_batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.batch_size, self.num_negatives, self.eval_batch_size = batch_size, num_negatives, eval_batch_size
        self.seed = seed

    @cached_property
    def _facts(self) -> tuple[dict[str, list[list[str]]], list[str], list[str]]:
        facts = {part: [line.split("\t") for line in lines] for part, lines in _lines(self.path).items()}
        for part, rows in facts.items():
            for number, row in enumerate(rows, 1):
                if len(row) != 3:
                    raise ValueError(
                        f"{self.path}: expected head, relation and tail with tabs between, but line {number} of "
                        f"{part}.txt has {len(row)} entries."
                    )
        every = [row for rows in facts.values() for row in rows]
        return facts, sorted({name for h, _, t in every for name in (h, t)}), sorted({r for _, r, _ in every})

    @property
    def entities(self) -> list[str]:
        """The names of the entities."""
        return self._facts[1]

    @property
    def num_entities(self) -> int:
        """Number of entities."""
        return len(self._facts[1])

    @property
    def num_relations(self) -> int:
        """Number 2 R of relations, inverse ones included."""
        return 2 * len(self._facts[2])

    @cached_property
    def parts(self) -> dict[str, Tensor]:
        """The queries (head, relation, tail) of each part, ``[n, 3]``."""
        facts, entities, relations = self._facts
        entity, relation = ({name: i for i, name in enumerate(names)} for names in (entities, relations))
        parts = {}
        for part, rows in facts.items():
            there = torch.tensor([(entity[h], relation[r], entity[t]) for h, r, t in rows]).view(-1, 3)
            back = there.flip(1) + torch.tensor([0, len(relations), 0])
            parts[part] = torch.cat([there, back])
        return parts

    @cached_property
    def _answers(self) -> tuple[Tensor, Tensor]:
        """The keys of all known queries, increasing, and their answers."""
        facts = torch.cat(list(self.parts.values()))
        keys, order = self._key(facts).sort()
        return keys, facts[order, 2]

    def _key(self, facts: Tensor) -> Tensor:
        return facts[:, 0] * self.num_relations + facts[:, 1]

    def known(self, queries: Tensor) -> Tensor:
        """Return the pairs (row, answer) ``[k, 2]`` of all that is known to be right for queries ``[b, 3]``."""
        keys, tails = self._answers
        wanted = self._key(queries)
        start, end = torch.searchsorted(keys, wanted), torch.searchsorted(keys, wanted, right=True)
        row = torch.arange(len(queries)).repeat_interleave(end - start)
        first = ((end - start).cumsum(0) - (end - start) - start).repeat_interleave(end - start)
        return torch.stack([row, tails[torch.arange(len(row)) - first]], 1)

    def setup(self, stage: str) -> None:
        """Read the files, or fail, before anything is trained."""
        _ = self.parts

    def train_dataloader(self) -> "TripleBatches":
        """Return this process's share of the training batches."""
        negatives = (self.num_entities, self.num_negatives)
        return TripleBatches(self.parts["train"], *negatives, self.batch_size, seed=self.seed, **self.share)

    def _evaluated(self, part: str) -> "QueryBatches":
        return QueryBatches(self, self.parts[part], self.eval_batch_size, **self.share)

    def val_dataloader(self) -> "QueryBatches":
        """Return this process's share of the queries to validate on."""
        return self._evaluated("valid")

    def test_dataloader(self) -> "QueryBatches":
        """Return this process's share of the queries to test on."""
        return self._evaluated("test")


class TripleBatches(Epochs):
    """Shuffled queries with candidates, as ``KnowledgeGraph`` says.

    Under several processes all draw the same batches and each takes its share of the rows, so that the mean of their
    losses is the loss of one process; a short last batch loses the rows that do not divide.
    """

    def __init__(
        self,
        queries: Tensor,
        num_entities: int,
        num_negatives: int | None,
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % world_size or len(queries) < world_size:
            raise ValueError(
                f"TripleBatches: expected a batch_size that divides by the {world_size} processes, and as many "
                f"queries, but got batch_size={batch_size} and {len(queries)} queries."
            )
        self.queries, self.num_entities, self.num_negatives = queries, num_entities, num_negatives
        self.rank, self.world_size = rank, world_size
        end = len(queries) // world_size * world_size
        identity = {"num_queries": len(queries), "batch_size": batch_size, "num_negatives": num_negatives or 0}
        super().__init__([*range(batch_size, end, batch_size), end], identity, seed)

    def items(self, epoch: int, start: int) -> Iterator[TrainingBatch]:
        """Yield the epoch's batches from the one that starts at row ``start``."""
        order = torch.randperm(len(self.queries), generator=self.generator(epoch))
        for end in self.ends_after(start):
            head, relation, tail = self.queries[order[start:end]].mT.contiguous().unbind()
            candidates = torch.arange(self.num_entities)
            if self.num_negatives is not None:
                drawn = torch.randint(
                    self.num_entities, (self.num_negatives,), generator=self.generator(epoch, 1 + end)
                )
                candidates = torch.cat([tail, drawn]).unique()
            mine = slice(self.rank, None, self.world_size)
            target = torch.searchsorted(candidates, tail)
            yield head[mine], relation[mine], candidates, target[mine]
            start = end


class QueryBatches:
    """Queries with all their known answers, a few at a time, each process its share."""

    def __init__(
        self, graph: KnowledgeGraph, queries: Tensor, batch_size: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        self.graph = graph
        self._items = [item[rank::world_size] for item in queries.split(batch_size)]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Queries]:
        for item in self._items:
            head, relation, tail = item.unbind(1)
            yield head, relation, tail, self.graph.known(item)
