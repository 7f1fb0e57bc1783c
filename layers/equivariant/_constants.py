"""Constants that are exact in every number format."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self


class Constants(nn.Module):
    """A module with constants computed in float64: in each format that it is moved to they are rounded once.

    An ordinary buffer that went through float32 stays rounded in float64. The constants are no part of the state dict.
    """

    def __init__(self) -> None:
        super().__init__()
        self._exact: dict[str, Tensor] = {}

    def register_constant(self, name: str, value: Tensor) -> None:
        """Make the float64 ``value`` a buffer of the default format, outside the state dict."""
        self._exact[name] = value
        self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for name, value in self._exact.items():
            self._buffers[name] = value.to(self.get_buffer(name))
        return self
