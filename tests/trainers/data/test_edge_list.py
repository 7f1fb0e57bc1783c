from pathlib import Path

import numpy as np
import pytest

from isometry.trainers.data import read_csv, read_edge_list, read_graph, read_npz


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "relations.csv"
    path.write_text('id1,id2,weight\ndog,animal,1\n"cat, the",animal,1\ndog,animal,1\n')
    graph = read_graph(path)
    assert graph.names == ("animal", "cat, the", "dog")
    assert graph.edges.tolist() == [[1, 0], [2, 0]]


def test_csv_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "relations.csv"
    path.write_text("id1,id2\ndog,animal\n")
    assert read_csv(path).edges.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "relations.csv:1: expected a header with the columns id1 and id2, but got ''"),
        ("child,parent\na,b\n", "1: expected a header with the columns id1 and id2, but got 'child,parent'"),
        ("id1,id2,weight\na,b,1\na,,1\n", "3: expected two different names and weight 1 .* but got .'a', '', '1'."),
        ("id1,id2,weight\na,b,1\na\n", "3: .* but got .'a', None, None."),
        ("id1,id2,weight\na,b,0.5\n", "2: .* weight 1"),
        ("id1,id2,weight\na,a,1\n", "2: expected two different names"),
        ("id1,id2,weight\na,b,1,7\n", "2: "),
    ],
)
def test_malformed_csv(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "relations.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_csv(path)


def test_edge_list(tmp_path: Path) -> None:
    path = tmp_path / "tree.edges"
    path.write_text("# a comment\n10 2\n2\t7\n\n7 7\n2 10\n")
    graph = read_graph(path)
    assert graph.names == ("2", "7", "10")
    assert graph.edges.tolist() == [[0, 1], [0, 2], [1, 0], [2, 0]]


@pytest.mark.parametrize("line", ["1 2 3", "1", "a b", "1 -2", "1.0 2"])
def test_malformed_edge_list(tmp_path: Path, line: str) -> None:
    path = tmp_path / "tree.edges"
    path.write_text(f"0 1\n{line}\n")
    with pytest.raises(ValueError, match=f"tree.edges:2: expected two node numbers, but got '{line}'"):
        read_edge_list(path)


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "closure.npz"
    np.savez(path, names=np.array(["a", "b", "c"]), edges=np.array([[2, 0], [1, 0]], dtype=np.int32))
    graph = read_graph(path)
    assert graph.names == ("a", "b", "c")
    assert graph.edges.tolist() == [[1, 0], [2, 0]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"edges": np.zeros((1, 2), dtype=np.int32)}, "'names'.* is not in .'edges'"),
        ({"names": np.array(["a", "b"]), "edges": np.array([[0, 2]])}, "closure.npz: .*nodes 0 to 1, but got 0 to 2"),
        ({"names": np.array(["a", "b"]), "edges": np.array([[0.0, 1.0]])}, "closure.npz: Cannot cast"),
    ],
)
def test_malformed_npz(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "closure.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message):
        read_npz(path)


@pytest.mark.parametrize("name", ["missing.csv", "missing.edges", "missing.npz"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name}: no such file; expected a"):
        read_graph(tmp_path / name)


def test_unknown_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"graph.txt: expected a folder .* or a file named .csv or .edges or .npz"):
        read_graph(tmp_path / "graph.txt")
