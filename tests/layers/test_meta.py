"""What every layer owes its reader: a case in the suite, and documentation."""

import importlib
import inspect
from pathlib import Path

import pytest
from torch import nn

import isometry.layers
from isometry.layers.testing import LayerSuite
from tests.manifolds.test_meta import documented

for file in Path(__file__).parent.glob("test_*.py"):
    importlib.import_module(f"tests.layers.{file.stem}")

PUBLIC = {name: getattr(isometry.layers, name) for name in isometry.layers.__all__}
LAYERS = [name for name, value in PUBLIC.items() if inspect.isclass(value) and issubclass(value, nn.Module)]
CASES = [case for suite in LayerSuite.__subclasses__() for case in suite.cases]


@pytest.mark.parametrize("name", sorted({*LAYERS} - {"ShardedEmbedding"}))  # which needs processes: test_sharded_table
def test_every_layer_has_a_case(name: str) -> None:
    built = {type(module) for case in CASES for module in case.layer().modules()}
    assert PUBLIC[name] in built, f"add a LayerSuite with {name} to tests/layers"


def test_public_names_are_sorted_and_import() -> None:
    assert sorted(isometry.layers.__all__) == isometry.layers.__all__


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    for owner, doc in documented(name, PUBLIC[name]):
        assert doc[:1].isupper(), f"{owner}: no docstring that starts with a sentence"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_layer_states_its_equation_and_its_source(name: str) -> None:
    doc = PUBLIC[name].__doc__
    assert "``" in doc, f"{name}: no equation"
    assert "source" in doc.lower(), f"{name}: no source"


@pytest.mark.parametrize("name", LAYERS)
def test_every_argument_is_documented(name: str) -> None:
    doc = inspect.cleandoc(PUBLIC[name].__doc__)
    for argument in inspect.signature(PUBLIC[name]).parameters.values():
        named = argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
        assert not named or f"\n    {argument.name}: " in doc, f"{name}: the argument {argument.name} is not documented"
