"""Convolutions whose weight is a tensor in factors."""

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Self

from isometry.layers.tensor._convolve import Geometry, convolve
from isometry.layers.tensor._work import Size
from isometry.layers.tensor.fold import Fold
from isometry.layers.tensor.layer import TensorLayer, uniform_bias
from isometry.manifolds import ShapeError
from isometry.manifolds.low_rank.base import Ranks

Sizes = int | tuple[int, ...]
_DENSE: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Conv(TensorLayer):
    r"""A convolution ``y = W * x + b`` of ``torch.nn`` with W in factors, along one way, two or three.

    ========= ====================================================================================================
    format    how it computes, where not with the assembled kernel
    ========= ====================================================================================================
    low_rank  ``W = U S V^T``, out x (in k): a convolution to r channels, then a matrix at each place
    tucker    modes out, in, places: a matrix at each place, a convolution of the core, a matrix at each place
    kronecker ``W = sum_i A_i (x) S_i``, S_i with the kernels: the S_i, then the A_i at each place
    cp        ``sum_i a_i o b_i o k_i^1 o ...``: a matrix, one kernel for each of the r channels, a matrix
    chain     the same, each channel's kernel as a chain of filters along one way each
    tt        modes in, along each way, out: a matrix, convolutions along one way each between r_k channels, a matrix
    ========= ====================================================================================================

    Groups share the factors of the inputs; each has rows of the factor of the outputs of its own. A new layer has
    factors with orthonormal columns and singular values as flat as the format has them (cp: normal factors), and the
    variance of the outputs of its dense twin.

    Args:
        in_channels: Channels of the inputs.
        out_channels: Channels of the outputs.
        kernel_size: Of the kernel, one number or one for each way.
        rank: Ranks of the tensor; one number for all, or one for each of its bases.
        stride: As in ``torch.nn``.
        padding: As in ``torch.nn``, ``"same"`` and ``"valid"`` too.
        dilation: As in ``torch.nn``.
        groups: As in ``torch.nn``.
        padding_mode: As in ``torch.nn``.
        bias: Whether to add a learned b.
        format: One of the above.
        fold: For kronecker: ``((n1, n2), (m1, m2))``, A_i is n1 x m1.
        max_rank: Ranks for which the parameters have room, if these are to grow; by default ``rank``.
        tangent_grad: Gradients are the coordinates of the projected gradient, for ``LowRankOptimizer`` and nothing
            else, instead of derivatives by the factors. Not for cp and chain.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: The ranks are impossible for these sizes, or an argument is unknown.
        ShapeError: The groups do not divide the channels, or the fold does not multiply to them.

    Source: Zangrando et al. 2023 (Tucker); Phan et al. 2020, Stable low-rank tensor decomposition for compression of
        convolutional neural network (cp); Pinto Martins et al. 2023, A-priori compression of convolutional neural
        networks for wave simulators (chain).
    """

    ways: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        rank: Ranks,
        *,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        bias: bool = True,
        format: str = "tucker",
        fold: Fold | None = None,
        max_rank: Ranks | None = None,
        tangent_grad: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"{type(self).__name__}: expected groups that divide the channels, but got {groups} groups of "
                f"{in_channels} and {out_channels}."
            )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"{type(self).__name__}: expected one of {_PADDING_MODES}, but got {padding_mode!r}.")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride, self.dilation = map(self._each, (kernel_size, stride, dilation))
        self.padding = padding if isinstance(padding, str) else self._each(padding)
        self.padding_mode = padding_mode
        self._around = self._margins()
        inp = in_channels // groups
        shape = (out_channels, inp, *self.kernel_size)
        self._build(shape, rank, (out_channels / 3) ** 0.5, format, fold, max_rank, tangent_grad, dtype)
        self.bias = uniform_bias(out_channels, inp * math.prod(self.kernel_size)) if bias else None
        self.to(device=device, dtype=dtype)

    def _each(self, sizes: Sizes) -> tuple[int, ...]:
        """Return one number for each way."""
        result = (sizes,) * self.ways if isinstance(sizes, int) else tuple(sizes)
        if len(result) != self.ways:
            raise ShapeError(f"{type(self).__name__}: expected {self.ways} numbers, one for each way, but got {sizes}.")
        return result

    def _margins(self) -> list[tuple[int, int]]:
        """Return how much is added before and after, along each way."""
        if self.padding == "same":
            if max(self.stride) > 1:
                raise ValueError(
                    f"{type(self).__name__}: expected stride 1 with padding 'same', but got {self.stride}."
                )
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return [(total // 2, total - total // 2) for total in totals]
        if isinstance(self.padding, str):
            if self.padding != "valid":
                raise ValueError(
                    f"{type(self).__name__}: expected padding 'same', 'valid' or numbers, but got {self.padding!r}."
                )
            return [(0, 0)] * self.ways
        return [(p, p) for p in self.padding]

    @classmethod
    def from_dense(
        cls,
        dense: Any,
        *,
        ranks: Ranks | None = None,
        tol: float | None = None,
        budget: int | None = None,
        format: str = "tucker",
        fold: Fold | None = None,
        max_rank: Ranks | None = None,
        tangent_grad: bool = False,
    ) -> Self:
        """Return a quasi-best approximation of a dense convolution of ``torch.nn``.

        Args:
            dense: The layer.
            ranks: The largest ranks.
            tol: Largest error of the weight relative to its Frobenius norm.
            budget: Largest number of the weight's parameters; excludes ``ranks`` and ``tol``.
            format: As for a new layer.
            fold: As for a new layer.
            max_rank: As for a new layer, by default the ranks found.
            tangent_grad: As for a new layer.
        """
        layer = cls(
            dense.in_channels,
            dense.out_channels,
            dense.kernel_size,
            1,
            **_geometry_of(dense),
            bias=dense.bias is not None,
            format=format,
            fold=fold,
            tangent_grad=tangent_grad,
            dtype=dense.weight.dtype,
        )
        return layer._adopt(dense, ranks, tol, budget, max_rank)

    def forward(self, x: Float[Tensor, "n i ..."]) -> Float[Tensor, "n o ..."]:
        """Return ``W * x + b``."""
        x, padding = self._padded(x)
        geometry = Geometry(self.stride, padding, self.dilation, self.groups)
        size = self._size(x, padding)
        w = self._weight(len(x), self.factors.contraction_work(size, self.groups), self.factors.dense_work(size))
        if w is not None:
            return convolve(x, w, geometry, self.bias)
        return self.factors.convolve(x, self.bias, geometry)

    def _padded(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Return the input, padded where the convolution cannot do that itself, and what is left to pad."""
        if self.padding_mode == "zeros" and all(a == b for a, b in self._around):
            return x, tuple(a for a, _ in self._around)
        margins = [n for pair in reversed(self._around) for n in pair]
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(x, margins, mode=mode), (0,) * self.ways

    def _size(self, x: Tensor, padding: tuple[int, ...]) -> Size:
        """Return the numbers of places of the input and of the output, in the whole batch."""
        places = len(x)
        for k, n in enumerate(x.shape[2:]):
            reach = self.dilation[k] * (self.kernel_size[k] - 1)
            places *= (n + 2 * padding[k] - reach - 1) // self.stride[k] + 1
        return Size(len(x) * math.prod(x.shape[2:]), places)

    def to_dense(self) -> nn.Module:
        """Return the convolution of ``torch.nn`` that computes the same."""
        w = self.factors.leaves[0]
        options = {"bias": self.bias is not None, "device": w.device, "dtype": w.dtype}
        sizes = (self.in_channels, self.out_channels, self.kernel_size)
        return self._fill(_DENSE[self.ways](*sizes, **_geometry_of(self), **options))

    def extra_repr(self) -> str:
        """Return the sizes and the format."""
        options = ", ".join(f"{name}={value!r}" for name, value in _geometry_of(self).items())
        sizes = f"{self.in_channels}, {self.out_channels}, {self.kernel_size}"
        return f"{sizes}, {options}, format={self.format!r}, bias={self.bias is not None}"


def _geometry_of(conv: Any) -> dict[str, Any]:
    """Return the arguments that say where the kernel of a convolution is applied."""
    return {name: getattr(conv, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")}


class Conv1d(Conv):  # noqa: D101
    __doc__ = Conv.__doc__
    ways = 1


class Conv2d(Conv):  # noqa: D101
    __doc__ = Conv.__doc__
    ways = 2


class Conv3d(Conv):  # noqa: D101
    __doc__ = Conv.__doc__
    ways = 3
