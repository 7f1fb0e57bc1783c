"""Convolution in the frequency domain, cut to low frequencies."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from isometry.layers._full_precision import FullPrecision
from isometry.layers.tensor.spectral_weight import (
    FORMATS,
    DenseSpectralWeight,
    FactoredSpectralWeight,
    SpectralWeight,
    TuckerSpectralWeight,
    checked_ranks,
    ranks_within,
)
from isometry.layers.tensor.truncated_fourier import analyse, kept_modes, synthesise
from isometry.manifolds._precision import full_precision
from isometry.manifolds.low_rank import FixedRankTucker
from isometry.manifolds.low_rank.base import Ranks


class SpectralConv(FullPrecision):
    r"""A convolution of periodic functions on a grid, given by its coefficients: ``y = F^* (W_k (F x)_k) + b``.

    F takes the coefficients of low frequency, and W is a complex matrix for each of them, ``[in, out]``. The layer is
    the same operator on every grid that has the frequencies; on coarser grids the frequencies that are missing are left
    out. W is one dense tensor, or in factors::

        tucker    W = C x_1 U_1 ... x_d U_d x_(d+1) A x_(d+2) B, ranks of the modes, of in and of out
        cp        W = sum_r u_(1, r) o ... o u_(d, r) o a_r o b_r, one rank
        tt        W_k = A G_1[k_1] ... G_d[k_d] B^T, ranks of the d + 1 bonds

    All give outputs of the same variance at the start. Factors save parameters; time only where the channels' ranks are
    small. The transform is a matrix product where few frequencies are kept (about a quarter of 64), else an FFT.

    Args:
        in_channels: i.
        out_channels: o.
        modes: Number of frequencies in each of one to three dimensions, ``-(m // 2), ..., (m - 1) // 2``; in the last
            one those up to ``m // 2``, as functions are real.
        format: Of W; None for dense.
        rank: Ranks of the format, or one number for all of them.
        budget: Instead of ``rank``: the largest number of real parameters of W, for ranks in proportion to the full
            ones.
        bias: Whether there is a b, ``[out]``.
        dtype: Of the parameters, a real one: complex factors are stored as ``[..., 2]``.
        device: Of the parameters.

    Raises:
        ValueError: If a size is not positive, or format, rank and budget do not fit each other.

    Source: Li et al. 2021, Fourier neural operator for parametric partial differential equations; factors: Kossaifi et
    al. 2024, Multi-grid tensorized Fourier neural operator for high-resolution PDEs.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: Sequence[int],
        *,
        format: str | None = None,
        rank: Ranks | None = None,
        budget: int | None = None,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= len(modes) <= 3 or min(in_channels, out_channels, *modes) < 1:
            raise ValueError(
                "SpectralConv: expected positive channels and one to three positive numbers of modes, but got "
                f"{in_channels}, {out_channels} and {tuple(modes)}."
            )
        self.in_channels, self.out_channels, self.modes = in_channels, out_channels, tuple(modes)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"SpectralConv: expected dtype torch.float32 or torch.float64, of the real parts of W, but got {dtype}."
            )
        shape = (*modes[:-1], modes[-1] // 2 + 1, in_channels, out_channels)
        std = math.sqrt(2 / (in_channels + out_channels))
        self.weight = _random_weight(shape, format, rank, budget, std, dtype.to_complex(), device)
        self.bias = nn.Parameter(std * torch.randn(out_channels, dtype=dtype, device=device)) if bias else None

    @classmethod
    def from_dense(
        cls, conv: "SpectralConv", *, ranks: Ranks | None = None, tol: float | None = None, budget: int | None = None
    ) -> "SpectralConv":
        """Return a Tucker approximation of a convolution.

        Args:
            conv: The convolution, of any format.
            ranks: The largest ranks (modes, in, out).
            tol: Largest Frobenius error relative to that of W.
            budget: Largest number of real parameters of W; excludes the other two.
        """
        dense = conv.dense_weight()
        manifold = FixedRankTucker(dense.shape)
        point = manifold.from_dense(dense, ranks=ranks, tol=tol, budget=None if budget is None else budget // 2)
        return conv._with(TuckerSpectralWeight(tuple(dense.shape), [point.core, *point.factors]))

    def to_dense(self) -> "SpectralConv":
        """Return the same convolution with a dense W."""
        return self._with(DenseSpectralWeight(self.dense_weight()))

    def dense_weight(self) -> Complex[Tensor, "*modes i o"]:
        """Return W, detached."""
        return self.weight.dense((slice(None),) * len(self.modes)).detach()

    def _with(self, weight: SpectralWeight) -> "SpectralConv":
        like = next(self.parameters())
        other = SpectralConv(
            self.in_channels, self.out_channels, self.modes, bias=False, dtype=like.dtype, device=like.device
        )
        other.weight = weight
        other.bias = None if self.bias is None else nn.Parameter(self.bias.detach().clone())
        return other

    @full_precision
    def forward(self, x: Float[Tensor, "b i *n"]) -> Float[Tensor, "b o *n"]:
        """Return ``F^* (W_k (F x)_k) + b`` of values on any grid."""
        sizes = x.shape[2:]
        if x.shape[1] != self.in_channels or len(sizes) != len(self.modes):
            raise ValueError(
                f"SpectralConv: expected [b, {self.in_channels}, ...] with {len(self.modes)} dimensions of a grid, but "
                f"got {list(x.shape)}."
            )
        modes = self.weight.shape[:-2]
        kept = kept_modes(modes, sizes)
        # The frequencies that the grid has, in the middle of all; of the last dimension the first ones.
        starts = [m // 2 - k // 2 for m, k in zip(modes[:-1], kept[:-1], strict=True)] + [0]
        parts = tuple(slice(start, start + k) for start, k in zip(starts, kept, strict=True))
        y = synthesise(self.weight(analyse(x, kept), parts), sizes)
        return y if self.bias is None else y + self.bias.to(x.dtype).view(-1, *[1] * len(sizes))

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.in_channels}, {self.out_channels}, modes={self.modes}"


def _random_weight(
    shape: tuple[int, ...],
    format: str | None,
    rank: Ranks | None,
    budget: int | None,
    std: float,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> SpectralWeight:
    """Return a weight whose entries have the standard deviation ``std``."""
    if format is None:
        if rank is not None or budget is not None:
            raise ValueError("SpectralConv: a dense weight has no rank and no budget; give a format.")
        return DenseSpectralWeight(std * torch.randn(shape, dtype=dtype, device=device))
    if format not in FORMATS:
        raise ValueError(f"SpectralConv: expected a format of {', '.join(FORMATS)} or None, but got {format!r}.")
    kind: type[FactoredSpectralWeight] = FORMATS[format]
    if rank is not None and budget is None:
        ranks = checked_ranks(kind, shape, rank)
    elif budget is not None and rank is None:
        ranks = ranks_within(kind, shape, budget)
    else:
        raise ValueError(f"SpectralConv: expected a rank or a budget for the format {format!r}, and not both.")
    return kind.random(shape, ranks, std, dtype, device)
