"""Settings of every test: one thread, and the shapes in signatures checked at run time."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jaxtyping
import pytest
import torch
from typing_extensions import Self

CHECKED_PACKAGES = ["isometry.manifolds", "isometry.layers", "isometry.models"]


def _adapted(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """Let torch.compile trace the plain function, as Dynamo cannot trace the checks around it.

    ``Self`` is dropped: beartype cannot check it on a method alone.
    """

    def decorator(fn: Any = None, **options: Any) -> Any:
        if fn is None:
            return lambda fn: decorator(fn, **options)
        if torch.compiler.is_compiling():  # a function defined inside one that is being compiled
            return fn
        if isinstance(fn, type):
            return jaxtyped(fn, **options)
        fn.__annotations__ = {k: v for k, v in fn.__annotations__.items() if v is not Self}
        checked = jaxtyped(fn, **options)

        @wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            return (fn if torch.compiler.is_compiling() else checked)(*args, **kwargs)

        call.__code__ = call.__code__.replace()  # its own code object, on which Dynamo counts recompilations
        return call

    return decorator


jaxtyping.jaxtyped = _adapted(jaxtyping.jaxtyped)
jaxtyping.install_import_hook(CHECKED_PACKAGES, "beartype.beartype")


@pytest.fixture(autouse=True)
def _same_start() -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    torch.compiler.reset()
