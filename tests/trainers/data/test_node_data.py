import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.trainers.data import Cora, CoraHypergraph, NodeDataModule, Texas
from isometry.trainers.data.sample_batches import Samples

REAL = {name: Path(os.environ.get(f"ISOMETRY_{name}", name.lower())) for name in ("HGCN_GRAPHS", "HYPERGRAPH", "WEBKB")}


class Toy(NodeDataModule):
    num_classes = 3

    def __init__(self, labels: list[int], **nodes: list[int]) -> None:
        super().__init__()
        self.labels = torch.tensor(labels)
        self.nodes = {part: torch.tensor(rows) for part, rows in nodes.items()}

    def read(self) -> tuple[Samples, Mapping[str, Tensor]]:
        return (torch.eye(len(self.labels)), self.labels), self.nodes


def test_each_part_is_the_whole_graph_with_its_own_labels() -> None:
    data = Toy([0, 1, 2, 2, 1], train=[0, 3], val=[1], test=[4, 2])
    data.setup("fit")
    for loader, expected in (
        (data.train_dataloader(), [0, -100, -100, 2, -100]),
        (data.val_dataloader(), [-100, 1, -100, -100, -100]),
        (data.test_dataloader(), [-100, -100, 2, -100, 1]),
    ):
        assert len(loader) == 1
        ((x, labels),) = loader
        assert torch.equal(x, torch.eye(5))
        assert labels.tolist() == expected


def test_a_part_without_nodes_gives_no_batches() -> None:
    data = Toy([0, 1, 2], train=[0])
    assert data.val_dataloader() == []
    assert data.test_dataloader() == []


def test_nodes_in_two_parts_and_labels_that_are_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="Toy: expected every node once in one part, but node 1 is not"):
        Toy([0, 1, 2], train=[0, 1], test=[1]).setup("fit")
    with pytest.raises(ValueError, match="Toy: expected labels 0 to 2, but got 0 to 3"):
        Toy([0, 3, 2], train=[0]).setup("fit")


# --- formats ----------------------------------------------------------------------------------------------------

X = np.array([[0, 2, 0, 2], [0, 0, 0, 0], [1, 0, 1, 1]])
SPARSE = {
    "x_data": np.array([2, 2, 1, 1, 1], dtype=np.float32),
    "x_indices": np.array([1, 3, 0, 2, 3], dtype=np.int32),
    "x_indptr": np.array([0, 2, 2, 5]),
    "x_shape": np.array([3, 4]),
}
PAIRS = np.array([[0, 1], [1, 2]], dtype=np.int32)
Y = np.array([0, 6, 3])


def test_cora_reads_citations_in_both_directions_and_normalises_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "cora.npz", edges=PAIRS, y=Y, train=[0], val=[1], test=[2], **SPARSE)
    x, edge_index, labels = Cora(tmp_path).parts["test"]
    assert torch.allclose(x, torch.from_numpy(X / np.maximum(X.sum(1, keepdims=True), 1)).float())
    assert edge_index.tolist() == [[0, 1, 1, 2], [1, 2, 0, 1]]
    assert labels.tolist() == [-100, -100, 3]


@pytest.mark.parametrize("relation", ["coauthorship", "cocitation"])
def test_the_hypergraph_of_cora(tmp_path: Path, relation: str) -> None:
    incidence = np.array([[0, 1], [0, 2], [1, 2]], dtype=np.int32)  # hyperedge, node
    splits = np.array([[i % 3] for i in range(10)])
    np.savez(tmp_path / f"{relation}_cora.npz", incidence=incidence, y=Y, train_splits=splits, **SPARSE)
    data = CoraHypergraph(tmp_path, relation, split=4, self_loops=False)  # type: ignore[arg-type]
    _, index, labels = data.parts["train"]
    assert index.tolist() == [[1, 2, 2], [0, 0, 1]]
    assert labels.tolist() == [-100, 6, -100]
    assert data.parts["test"][-1].tolist() == [0, -100, 3]
    _, index, _ = CoraHypergraph(tmp_path, relation).parts["train"]  # type: ignore[arg-type]
    assert index.tolist() == [[1, 2, 2, 0, 1, 2], [0, 0, 1, 2, 3, 4]]


def test_texas(tmp_path: Path) -> None:
    x = np.zeros((3, 1703), dtype=np.uint8)
    x[1, 5] = 1
    parts = {f"{part}{i}": [(k + i) % 3] for k, part in enumerate(("train", "val", "test")) for i in range(10)}
    np.savez(tmp_path / "texas.npz", edges=PAIRS, x=x, y=[0, 4, 2], **parts)
    read, edge_index, labels = Texas(tmp_path, split=1).parts["train"]
    assert torch.equal(read, torch.from_numpy(x).float())
    assert edge_index.shape == (2, 4)
    assert labels.tolist() == [-100, 4, -100]


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the relation coauthorship or cocitation, but got 'author'"):
        CoraHypergraph(tmp_path, "author")  # type: ignore[arg-type]
    for make in (lambda split: Texas(tmp_path, split), lambda split: CoraHypergraph(tmp_path, split=split)):
        with pytest.raises(ValueError, match="expected a split from 0 to 9, but got 10"):
            make(10)
    for data, source in ((Cora, "hgcn"), (CoraHypergraph, "HyperGCN"), (Texas, "HyperCore")):
        with pytest.raises(FileNotFoundError, match=rf"no such file; .*{source}"):
            data(tmp_path).setup("fit")


# --- the real ones ----------------------------------------------------------------------------------------------


def real(name: str) -> pytest.MarkDecorator:
    folder = REAL[name]
    return pytest.mark.skipif(
        not folder.is_dir(), reason=f"no {folder}: set ISOMETRY_{name} to the folder of the files"
    )


@real("HGCN_GRAPHS")
def test_the_real_cora() -> None:
    parts = Cora(REAL["HGCN_GRAPHS"]).parts
    assert [tuple(t.shape) for t in parts["train"]] == [(2708, 1433), (2, 10556), (2708,)]
    assert [int((parts[part][-1] >= 0).sum()) for part in ("train", "val", "test")] == [140, 500, 1000]
    assert torch.bincount(parts["train"][-1][:140]).tolist() == [20] * 7


@real("HYPERGRAPH")
@pytest.mark.parametrize(("relation", "hyperedges", "alone"), [("coauthorship", 1072, 320), ("cocitation", 1579, 1274)])
def test_the_real_hypergraphs(relation: str, hyperedges: int, alone: int) -> None:
    data = CoraHypergraph(REAL["HYPERGRAPH"], relation, split=9, self_loops=False)  # type: ignore[arg-type]
    x, index, labels = data.parts["train"]
    assert x.shape == (2708, 1433)
    assert int(index[1].max()) + 1 == hyperedges
    assert 2708 - len(index[0].unique()) == alone
    assert (labels >= 0).sum() == 140
    assert (data.parts["test"][-1] >= 0).sum() == 2568


@real("WEBKB")
def test_the_real_texas() -> None:
    for split in range(10):
        parts = Texas(REAL["WEBKB"], split).parts
        assert parts["train"][1].shape == (2, 558)
        assert [int((parts[part][-1] >= 0).sum()) for part in ("train", "val", "test")] == [87, 59, 37]
