"""Tensorized layers of every format, their inputs, and the two ways in which they compute."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from isometry.layers.tensor import Conv1d, Conv2d, Conv3d, Embedding, Linear
from isometry.layers.tensor.layer import TensorLayer

LINEAR: dict[str, dict[str, Any]] = {
    "low_rank": {"rank": 3},
    "kronecker": {"rank": 3, "fold": ((5, 4), (2, 12))},
    "tucker": {"rank": (3, 2, 3, 4)},
    "cp": {"rank": 7},
    "tt": {"rank": 3},
}
CONV: dict[str, dict[str, Any]] = {
    "low_rank": {"rank": 3},
    "kronecker": {"rank": 3, "fold": ((6, 3), (2, 3))},
    "tucker": {"rank": (4, 3, 2)},
    "cp": {"rank": 5},
    "chain": {"rank": 5},
    "tt": {"rank": 2},
}
MANIFOLDS = ("low_rank", "kronecker", "tucker", "tt")
KERNEL = (3, 2, 3)
CONVS = {1: Conv1d, 2: Conv2d, 3: Conv3d}

WAYS: dict[str, Callable[[TensorLayer], Callable[..., Tensor | None]]] = {
    "contracted": lambda layer: lambda *work: None,
    "assembled": lambda layer: lambda *work: layer.factors.dense(),
}


def take(layer: TensorLayer, way: str) -> TensorLayer:
    """Make a layer compute one way, whatever it costs."""
    layer._weight = WAYS[way](layer)  # type: ignore[method-assign]
    return layer


def linear(format: str, **options: Any) -> Linear:
    return Linear(24, 20, **{**LINEAR[format], "format": format, **options})


def embedding(format: str, **options: Any) -> Embedding:
    return Embedding(20, 24, **{**LINEAR[format], "format": format, **options})


def conv(format: str, ways: int = 2, groups: int = 1, **options: Any) -> Any:
    own = dict(CONV[format])
    if format == "kronecker":
        own["fold"] = ((6, 3), (2, 6 // groups))
    arguments = {**own, "format": format, "groups": groups, **options}
    return CONVS[ways](12, 18, KERNEL[:ways], **arguments)


def vectors(n: int) -> Tensor:
    return torch.randn(n, 24)


def indices(n: int) -> Tensor:
    return torch.randint(20, (n,))


def images(n: int, ways: int = 2) -> Tensor:
    return torch.randn(n, 12, *(7, 6, 5)[:ways])


def examples(**options: Any) -> list[Any]:
    """Return ``(name, builder of the layer, builder of its input)`` of every layer whose format is a manifold."""
    makers = []
    for format in MANIFOLDS:
        makers += [
            (f"linear {format}", lambda f=format: linear(f, **options), vectors),
            (f"embedding {format}", lambda f=format: embedding(f, **options), indices),
            (f"conv {format}", lambda f=format: conv(f, stride=(1, 2), padding=1, **options), images),
            (f"grouped conv {format}", lambda f=format: conv(f, groups=2, dilation=2, **options), images),
        ]
    return makers
