"""Every example runs, briefly and without a download."""

import importlib.util
import socket
import time
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 13


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(f"{path.name} opens a connection to {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)  # where the results go
    start = time.process_time()
    load(path).main(smoke=True)
    assert time.process_time() - start < 20
    assert len(path.read_text().splitlines()) <= 150


def test_the_nouns_say_where_to_get_them(tmp_path: Path) -> None:
    main = load(FOLDER / "wordnet_nouns.py").main
    with pytest.raises(SystemExit, match=r"(?s)--data: name WordNet's nouns.*Debian.*npm.*wordnet\.princeton\.edu"):
        main()
    with pytest.raises(FileNotFoundError, match=r"noun_closure\.npz: no such file; expected a numpy archive of names"):
        main(tmp_path / "noun_closure.npz")


@pytest.mark.parametrize(
    "name",
    [
        "hdm05_spdnet",
        "mamem_eeg",
        "hypergraph_cora",
        "acac_force_field",
        "qm7x_polarizability",
        "darcy_fno",
        "tree_constructions",
        "hgcn",
        "kg_wn18rr",
        "mps_mnist",
    ],
)
def test_examples_of_data_that_is_not_packaged_ask_for_it(name: str) -> None:
    with pytest.raises(SystemExit, match="--data: name "):
        load(FOLDER / f"{name}.py").main()
