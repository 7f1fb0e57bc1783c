"""How the suite's tests are generated: one per case, format and step, and none for a capability that nobody has."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from isometry.manifolds.base import Manifold
from isometry.manifolds.testing.case import Case
from isometry.manifolds.testing.operations import OPERATIONS

if TYPE_CHECKING:
    import pytest

Test = TypeVar("Test", bound=Callable[..., None])

_CONDITION = "_condition"


def where(condition: Callable[[Manifold], bool]) -> Callable[[Test], Test]:
    """Restrict a test to the manifolds that satisfy ``condition``; for others it is not generated at all."""

    def mark(test: Test) -> Test:
        setattr(test, _CONDITION, condition)
        return test

    return mark


def has(capability: type) -> Callable[[Test], Test]:
    """Restrict a test to the manifolds that support a capability class."""
    return where(lambda manifold: manifold.supports(capability))


class GeneratedTests:
    """A pytest class whose tests run once per case, for each value of the arguments that they name."""

    manifolds: ClassVar[Sequence[Manifold | Case]]
    cases: ClassVar[list[Case]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "manifolds"):
            return  # a part of the suite
        cls.cases = [m if isinstance(m, Case) else Case(m) for m in cls.manifolds]
        if not cls.cases:
            raise ValueError(f"{cls.__name__}: expected at least one manifold in `manifolds`, but it is empty.")
        for name in dir(cls):
            if name.startswith("test_") and not cls.cases_of(getattr(cls, name)):
                setattr(cls, name, None)

    @classmethod
    def cases_of(cls, test: Callable[..., None]) -> list[Case]:
        """Return the cases to which a test applies."""
        condition = getattr(test, _CONDITION, lambda manifold: True)
        return [case for case in cls.cases if condition(case.manifold)]

    def pytest_generate_tests(self, metafunc: "pytest.Metafunc") -> None:
        """Give a test its cases, and the values of ``dtype``, ``power`` and ``operation`` where it asks for them."""
        values: dict[str, Sequence[Any]] = {
            "case": self.cases_of(metafunc.function),
            "dtype": [torch.float32, torch.float64],
            "power": [3 / 4, 1 / 2, 1 / 4, 0.0],
            "operation": list(OPERATIONS),
        }
        for name in metafunc.fixturenames:
            if name in values:
                metafunc.parametrize(name, values[name], ids=str)
