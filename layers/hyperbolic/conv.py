"""Convolutions of points."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from isometry.layers.hyperbolic._hyperboloid import (
    Curvature,
    Space,
    asinh_c,
    curvature,
    log_spatial,
    sinh_c,
)
from isometry.layers.hyperbolic._hyperplanes import Hyperplanes
from isometry.layers.hyperbolic.concatenation import beta_ratio
from isometry.manifolds import ShapeError
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import cosh_sqrt, sinhc_sqrt


class _Conv(Hyperplanes):
    _dims: ClassVar[int]

    def __init__(
        self,
        manifold: Space,
        out: Space,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(manifold, out)
        if not (kernel_size >= 1 and stride >= 1 and padding >= 0):
            raise ValueError(
                f"{type(self).__name__}: expected kernel_size >= 1, stride >= 1 and padding >= 0, but got "
                f"{kernel_size}, {stride} and {padding}."
            )
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        cells = kernel_size**self._dims
        self._ratio = beta_ratio(cells * manifold.dim, manifold.dim)
        self._make_planes(out.dim, cells * manifold.dim, bias, dtype, device)
        with torch.no_grad():
            self.weight.set_(self.weight.unflatten(-1, (manifold.dim, *[kernel_size] * self._dims)))

    def _convolved(self, x: Tensor) -> Tensor:
        s = self._spatial(x)
        if x.ndim != self._dims + 2:
            grid = ", ".join(["length"] if self._dims == 1 else ["height", "width"])
            raise ShapeError(
                f"{type(self).__name__}: expected points [b, {grid}, {self.manifold.point_shape[0]}], "
                f"got {list(x.shape)}."
            )
        return self.out.from_spatial(self._image(s))

    @full_precision
    def _image(self, s: Tensor) -> Tensor:
        c = curvature(self.manifold)
        v = self._distances_of_windows((self._ratio * log_spatial(s, c)).movedim(-1, 1), c)
        return sinh_c(v, curvature(self.out)).movedim(1, -1)

    def _distances_of_windows(self, u: Tensor, c: Curvature) -> Tensor:
        """Return ``v`` of the points whose logarithms are the windows of ``u [b, channels, *grid]``.

        The spatial part of a window w is ``sinhc(sqrt(c)|w|) w``: the planes' products are a convolution of ``u``, and
        ``|w|^2`` is one of ``|u|^2`` with ones.
        """
        convolve: Any = F.conv1d if self._dims == 1 else F.conv2d
        rows, shift, length = self._planes(c, u.dtype)
        product = convolve(u, rows.view_as(self.weight), stride=self.stride, padding=self.padding)
        ones = u.new_ones(1, 1, *[self.kernel_size] * self._dims)
        square = c * convolve(u.square().sum(1, keepdim=True), ones, stride=self.stride, padding=self.padding)
        like = (-1, *[1] * self._dims)
        product = sinhc_sqrt(square) * product
        if shift is not None:
            product = product + cosh_sqrt(square) * shift.view(like)
        return length.view(like) * asinh_c(product, c)

    def extra_repr(self) -> str:
        """Return the window's arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class Conv1d(_Conv):
    r"""Windows of a sequence of points, ``Linear(Concatenation(x_1, ..., x_k))`` of each.

    It is computed as a convolution of ``log_o x``, without windows in memory. Padding is with the origin. On
    ``Euclidean(n)`` it is ``nn.Conv1d`` with the bias ``|a| b``, of inputs scaled as ``Concatenation`` does.

    Args:
        manifold: Where the points lie.
        out: Where the output lies.
        kernel_size: Points in a window.
        stride: Steps between windows.
        padding: Origins before and after the sequence.
        bias: Whether hyperplanes may miss the origin.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If a number is out of its range, or a manifold has no constant curvature of at most 0.

    Source: Shimizu, Mukuta & Harada 2021, Hyperbolic neural networks++.
    """

    _dims = 1

    def forward(self, x: Float[Tensor, "b length n"]) -> Float[Tensor, "b steps k"]:
        """Return points ``[b, steps, *out.point_shape]`` of a sequence of points."""
        return self._convolved(x)


class Conv2d(_Conv):
    r"""Square windows of an image of points, ``Linear(Concatenation(x_1, ..., x_kk))`` of each.

    It is computed as a convolution of ``log_o x``, without windows in memory. Padding is with the origin. On
    ``Euclidean(n)`` it is ``nn.Conv2d`` with the bias ``|a| b``, of inputs scaled as ``Concatenation`` does.

    Args:
        manifold: Where the points lie.
        out: Where the output lies.
        kernel_size: Points on the side of a window.
        stride: Steps between windows.
        padding: Origins around the image.
        bias: Whether hyperplanes may miss the origin.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If a number is out of its range, or a manifold has no constant curvature of at most 0.

    Source: Shimizu, Mukuta & Harada 2021, Hyperbolic neural networks++; van Spengler et al. 2023,
    Poincare ResNet.
    """

    _dims = 2

    def forward(self, x: Float[Tensor, "b height width n"]) -> Float[Tensor, "b rows columns k"]:
        """Return points ``[b, rows, columns, *out.point_shape]`` of an image of points."""
        return self._convolved(x)
