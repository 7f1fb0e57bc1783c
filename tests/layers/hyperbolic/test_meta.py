"""What every hyperbolic layer owes its reader: a case in the suite, and documentation."""

import importlib
import inspect
from pathlib import Path

import pytest

import isometry.layers.hyperbolic
from isometry.layers.testing import LayerSuite
from tests.manifolds.test_meta import documented

for file in Path(__file__).parent.glob("test_*.py"):
    importlib.import_module(f"tests.layers.hyperbolic.{file.stem}")

PUBLIC = {name: getattr(isometry.layers.hyperbolic, name) for name in isometry.layers.hyperbolic.__all__}
CASES = [case for suite in LayerSuite.__subclasses__() for case in suite.cases if "hyperbolic" in suite.__module__]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_layer_has_a_case(name: str) -> None:
    assert any(isinstance(case.layer(), PUBLIC[name]) for case in CASES), f"add a LayerSuite with {name}"


def test_public_names_are_sorted() -> None:
    assert sorted(isometry.layers.hyperbolic.__all__) == isometry.layers.hyperbolic.__all__


@pytest.mark.parametrize("name", PUBLIC)
def test_every_layer_is_documented_with_its_equation_source_and_arguments(name: str) -> None:
    for owner, doc in documented(name, PUBLIC[name]):
        assert doc[:1].isupper(), f"{owner}: no docstring that starts with a sentence"
    doc = inspect.cleandoc(PUBLIC[name].__doc__)
    assert "``" in doc, f"{name}: no equation"
    assert "Source:" in doc, f"{name}: no source"
    for argument in inspect.signature(PUBLIC[name]).parameters.values():
        assert f"\n    {argument.name}: " in doc, f"{name}: the argument {argument.name} is not documented"
