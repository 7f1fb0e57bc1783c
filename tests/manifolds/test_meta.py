"""What every manifold owes its reader: a case in the suite, documentation, geoopt's signatures."""

import inspect
from collections.abc import Iterator
from typing import Any

import geoopt
import pytest

import isometry.manifolds
from isometry.manifolds import Manifold
from isometry.manifolds.testing.points import parameters_of
from tests.manifolds.test_conformance import TestManifolds as Conformance

PUBLIC = {name: getattr(isometry.manifolds, name) for name in isometry.manifolds.__all__}
CONCRETE = {
    name: value
    for name, value in PUBLIC.items()
    if inspect.isclass(value) and issubclass(value, Manifold) and not inspect.isabstract(value)
}
# geoopt's **kwargs of `random` are our generator.
DIFFERENT = {"random"}


def documented(owner: str, value: Any) -> Iterator[tuple[str, str]]:
    """The names and docstrings of a public object and of its public methods and properties."""
    yield owner, inspect.getdoc(value) or ""
    for name, member in vars(value).items() if inspect.isclass(value) else ():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            yield f"{owner}.{name}", inspect.getdoc(member) or ""


@pytest.mark.parametrize("name", CONCRETE)
def test_every_manifold_has_a_case(name: str) -> None:
    tested = {type(m) for case in Conformance.cases for m in case.manifold.modules()}  # alone or inside another
    assert CONCRETE[name] in tested, f"add {name} to test_conformance.py"


def test_public_names_are_sorted_and_import() -> None:
    assert sorted(isometry.manifolds.__all__) == isometry.manifolds.__all__


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    for owner, doc in documented(name, PUBLIC[name]):
        assert doc[:1].isupper(), f"{owner}: no docstring that starts with a sentence"


@pytest.mark.parametrize("name", [n for n, v in PUBLIC.items() if n in CONCRETE or inspect.isfunction(v)])
def test_every_manifold_and_function_states_its_equation_or_source(name: str) -> None:
    doc = PUBLIC[name].__doc__
    assert "``" in doc or "Source:" in doc, f"{name}: neither an equation nor a source"


@pytest.mark.parametrize("name", [n for n, m in inspect.getmembers(geoopt.manifolds.Manifold, inspect.isfunction)])
def test_signatures_are_geoopts(name: str) -> None:
    theirs = getattr(geoopt.manifolds.Manifold, name)
    if theirs.__module__.startswith("geoopt") and not name.startswith("_") and name not in DIFFERENT:
        assert parameters_of(getattr(Manifold, name)) == parameters_of(theirs)
