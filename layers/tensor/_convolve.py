"""Convolutions in one to three dimensions as the formats of weights need them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class Geometry(NamedTuple):
    """Where a kernel is applied: one number for each dimension of space, as in ``torch.nn``, and the groups."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def along(self, axis: int) -> "Geometry":
        """Return the part of the geometry along one axis: others have stride 1 and no padding."""

        def only(values: tuple[int, ...], rest: int) -> tuple[int, ...]:
            return tuple(n if k == axis else rest for k, n in enumerate(values))

        return Geometry(only(self.stride, 1), only(self.padding, 0), only(self.dilation, 1))


def convolve(
    x: Float[Tensor, "n i ..."],
    kernel: Float[Tensor, "o j ..."],
    geometry: Geometry,
    bias: Float[Tensor, "o"] | None = None,
) -> Float[Tensor, "n o ..."]:
    """Return the convolution; its number of dimensions is that of the kernel."""
    stride, padding, dilation, groups = geometry
    return _CONVOLUTIONS[kernel.ndim - 2](x, kernel, bias, stride, padding, dilation, groups)


def convolution_gradients(
    g: Float[Tensor, "n o ..."], x: Float[Tensor, "n i ..."], kernel: Float[Tensor, "o i ..."], geometry: Geometry
) -> tuple[Float[Tensor, "n i ..."], Float[Tensor, "o i ..."]]:
    """Return the gradients of a convolution's input and kernel, of which the latter does not depend on the kernel."""
    stride, padding, dilation, groups = geometry
    zeros, both = [0] * len(stride), [True, True, False]
    by_x, by_kernel, _ = torch.ops.aten.convolution_backward(
        g, x, kernel, None, stride, padding, dilation, False, zeros, groups, both
    )
    return by_x, by_kernel


def pointwise(
    x: Float[Tensor, "n i ..."],
    matrix: Float[Tensor, "o j"],
    groups: int = 1,
    bias: Float[Tensor, "o"] | None = None,
) -> Float[Tensor, "n o ..."]:
    """Return the matrix applied to the channels at each place; with groups, its rows to those of their group."""
    d = x.ndim - 2
    kernel = matrix.reshape(*matrix.shape, *[1] * d)
    return _CONVOLUTIONS[d](x, kernel, bias, groups=groups)


def apart(x: Float[Tensor, "n c ..."], groups: int) -> Float[Tensor, "m i ..."]:
    """Return the groups of channels as samples."""
    return x if groups == 1 else x.unflatten(1, (groups, -1)).flatten(0, 1)


def together(x: Float[Tensor, "m i ..."], groups: int) -> Float[Tensor, "n c ..."]:
    """Return the inverse of ``apart``."""
    return x if groups == 1 else x.unflatten(0, (-1, groups)).flatten(1, 2)
