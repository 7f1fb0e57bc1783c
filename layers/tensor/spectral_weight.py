"""The weights of a spectral convolution: a complex matrix for each frequency, dense or in factors.

Parameters are real views ``[..., 2]`` of complex tensors: collective communication and many optimizers know no others.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from isometry.manifolds.low_rank import FixedRankTucker
from isometry.manifolds.low_rank.base import Ranks

Kept = tuple[slice, ...]
Shape = tuple[int, ...]


def real_view(value: Complex[Tensor, "..."]) -> nn.Parameter:
    """Return a parameter ``[..., 2]`` with the real and imaginary parts."""
    return nn.Parameter(torch.view_as_real(value).clone(memory_format=torch.contiguous_format))


class SpectralWeight(nn.Module, ABC):
    """A tensor ``W [m_1, ..., m_d, i, o]`` that multiplies coefficients: ``y_k = x_k W_k`` for each frequency k.

    Args:
        shape: ``m_1, ..., m_d, i, o``.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def dense(self, kept: Kept) -> Complex[Tensor, "..."]:
        """Return the part of W of the frequencies in ``kept``, one slice for each dimension."""

    def forward(self, x: Complex[Tensor, "..."], kept: Kept) -> Complex[Tensor, "..."]:
        """Return ``y [*kept, b, o]`` of coefficients ``x [*kept, b, i]``."""
        return x @ self.dense(kept)

    def extra_repr(self) -> str:
        """Return the shape."""
        return f"{self.shape}"


class DenseSpectralWeight(SpectralWeight):
    """All entries.

    Args:
        value: The complex entries ``[m_1, ..., m_d, i, o]``.
    """

    def __init__(self, value: Complex[Tensor, "..."]) -> None:
        super().__init__(tuple(value.shape))
        self.weight = real_view(value)

    def dense(self, kept: Kept) -> Complex[Tensor, "..."]:
        """Return the entries."""
        return torch.view_as_complex(self.weight)[kept]


class FactoredSpectralWeight(SpectralWeight):
    """``W_k = A M_k B^T`` with matrices A and B of the channels, which all frequencies share.

    ``x_k A M_k B^T`` is contracted from the left, or the W_k are multiplied out first, whichever takes fewer
    multiplications for the batch.

    Args:
        shape: ``m_1, ..., m_d, i, o``.
        factors: Complex tensors of the shapes ``factor_shapes``.
    """

    format: ClassVar[str]
    ends: ClassVar[tuple[int, int]] = (-2, -1)
    """The places of A and B among the factors."""

    diagonal: ClassVar[bool] = False
    """Whether the M_k are diagonal, and given by their diagonals."""

    def __init__(self, shape: Shape, factors: Sequence[Complex[Tensor, "..."]]) -> None:
        super().__init__(shape)
        self.factors = nn.ParameterList([real_view(factor) for factor in factors])

    @staticmethod
    @abstractmethod
    def full_ranks(shape: Shape) -> Shape:
        """Return the largest ranks."""

    @staticmethod
    @abstractmethod
    def factor_shapes(shape: Shape, ranks: Shape) -> list[Shape]:
        """Return the shapes of the complex factors."""

    @abstractmethod
    def middle(self, factors: list[Tensor], kept: Kept) -> Complex[Tensor, "..."]:
        """Return the M_k of the frequencies in ``kept``, ``[*kept, p, q]``, or their diagonals ``[*kept, p]``."""

    @classmethod
    def random(
        cls, shape: Shape, ranks: Shape, std: float, dtype: torch.dtype, device: torch.device | str | None
    ) -> "FactoredSpectralWeight":
        """Return a weight of normal factors whose entries have the standard deviation ``std``."""
        shapes = cls.factor_shapes(shape, ranks)
        scale = (std**2 / math.prod(ranks)) ** (0.5 / len(shapes))  # entries are sums of prod(ranks) products
        return cls(shape, [scale * torch.randn(s, dtype=dtype, device=device) for s in shapes])

    def complex_factors(self) -> list[Complex[Tensor, "..."]]:
        """Return the factors."""
        return [torch.view_as_complex(factor) for factor in self.factors]

    def dense(self, kept: Kept) -> Complex[Tensor, "..."]:
        """Return ``A M_k B^T``."""
        factors = self.complex_factors()
        A, B = (factors[end] for end in self.ends)
        M = self.middle(factors, kept)
        return (A * M.unsqueeze(-2) if self.diagonal else A @ M) @ B.mT

    def forward(self, x: Complex[Tensor, "..."], kept: Kept) -> Complex[Tensor, "..."]:
        """Return ``y [*kept, b, o]`` of coefficients ``x [*kept, b, i]``."""
        factors = self.complex_factors()
        A, B = (factors[end] for end in self.ends)
        (i, p), (o, q), b = A.shape, B.shape, x.shape[-2]
        inner = 1 if self.diagonal else q
        if b * (i * p + p * inner + q * o) > i * p * inner + i * q * o + b * i * o:
            return super().forward(x, kept)
        h, M = x @ A, self.middle(factors, kept)
        return (h * M.unsqueeze(-2) if self.diagonal else h @ M) @ B.mT


class TuckerSpectralWeight(FactoredSpectralWeight):
    """``W = C x_1 U_1 ... x_d U_d x_(d+1) A x_(d+2) B``; the factors are C, the U_k, A and B."""

    format = "tucker"

    @staticmethod
    def full_ranks(shape: Shape) -> Shape:
        """Return the sizes."""
        return shape

    @staticmethod
    def factor_shapes(shape: Shape, ranks: Shape) -> list[Shape]:
        """Return the shapes of the core and of the factors."""
        return FixedRankTucker(shape).leaf_shapes(ranks)

    @classmethod
    def random(
        cls, shape: Shape, ranks: Shape, std: float, dtype: torch.dtype, device: torch.device | str | None
    ) -> "TuckerSpectralWeight":
        """Return orthonormal bases and a core whose unfoldings have nearly equal singular values."""
        norm = std * math.sqrt(math.prod(shape))
        point = FixedRankTucker(shape).random(ranks, scale=norm, dtype=dtype, device=device)
        return cls(shape, [point.core, *point.factors])

    def middle(self, factors: list[Tensor], kept: Kept) -> Complex[Tensor, "..."]:
        """Return the core times the factors of the frequencies."""
        core, d = factors[0], len(kept)
        for U, part in reversed([*zip(factors[1:-2], kept, strict=True)]):
            core = torch.tensordot(U[part], core, ([1], [d - 1]))  # the result comes first, the next one moves here
        return core


class CPSpectralWeight(FactoredSpectralWeight):
    """``W = sum_r u_(1, r) o ... o u_(d, r) o a_r o b_r``: diagonal M_k; the factors are the U_k, A and B."""

    format = "cp"
    diagonal = True

    @staticmethod
    def full_ranks(shape: Shape) -> Shape:
        """Return a rank that every tensor has."""
        return (math.prod(shape) // max(shape),)

    @staticmethod
    def factor_shapes(shape: Shape, ranks: Shape) -> list[Shape]:
        """Return the shapes of the factors."""
        return [(n, *ranks) for n in shape]

    def middle(self, factors: list[Tensor], kept: Kept) -> Complex[Tensor, "..."]:
        """Return the products of rows of the U_k."""
        first, *rest = (U[part] for U, part in zip(factors[:-2], kept, strict=True))
        for rows in rest:
            first = first.unsqueeze(-2) * rows
        return first


class TTSpectralWeight(FactoredSpectralWeight):
    """``W_k = A G_1[k_1] ... G_d[k_d] B^T``: a train with the channels at its ends. Factors: A, the G_k, B."""

    format = "tt"
    ends = (0, -1)

    @staticmethod
    def full_ranks(shape: Shape) -> Shape:
        """Return the sizes of the unfoldings in the order of the train."""
        *modes, i, _ = shape
        left = [i * math.prod(modes[:k]) for k in range(len(modes) + 1)]
        return tuple(min(n, math.prod(shape) // n) for n in left)

    @staticmethod
    def factor_shapes(shape: Shape, ranks: Shape) -> list[Shape]:
        """Return the shapes of A, of the cores and of B."""
        *modes, i, o = shape
        return [(i, ranks[0]), *zip(ranks, modes, ranks[1:], strict=False), (o, ranks[-1])]

    def middle(self, factors: list[Tensor], kept: Kept) -> Complex[Tensor, "..."]:
        """Return the products of the cores' slices."""
        first, *rest = (G.movedim(1, 0)[part] for G, part in zip(factors[1:-1], kept, strict=True))
        for slices in rest:
            first = first.unsqueeze(-3) @ slices
        return first


FORMATS: dict[str, type[FactoredSpectralWeight]] = {
    kind.format: kind for kind in (TuckerSpectralWeight, CPSpectralWeight, TTSpectralWeight)
}


def checked_ranks(kind: type[FactoredSpectralWeight], shape: Shape, ranks: Ranks) -> Shape:
    """Return the ranks, one for each bond of the format; a single number stands for all, as far as they can have it.

    Raises:
        ValueError: They are not as many as the format has, below 1, or larger than any tensor's.
    """
    full = kind.full_ranks(shape)
    given = tuple(min(ranks, n) for n in full) if isinstance(ranks, int) else tuple(ranks)
    if len(given) != len(full) or not all(1 <= r <= n for r, n in zip(given, full, strict=True)):
        raise ValueError(
            f"{kind.__name__}: expected ranks between 1 and {full} for the shape {shape} (modes, in, out), or one "
            f"number for all, but got {ranks}."
        )
    return given


def ranks_within(kind: type[FactoredSpectralWeight], shape: Shape, budget: int) -> Shape:
    """Return the largest ranks in proportion to the full ones whose factors have at most ``budget`` real numbers.

    Raises:
        ValueError: The budget is less than the parameters of rank 1.
    """
    full = kind.full_ranks(shape)

    def numbers(ranks: Shape) -> int:
        return 2 * sum(math.prod(s) for s in kind.factor_shapes(shape, ranks))

    best = (1,) * len(full)
    if numbers(best) > budget:
        raise ValueError(
            f"{kind.__name__}: expected a budget of at least {numbers(best)} real numbers, those of rank 1 for the "
            f"shape {shape} (modes, in, out), but got {budget}."
        )
    low, high = 0, max(full)
    while low < high:  # the largest rank of all; the others follow in proportion
        largest = (low + high + 1) // 2
        ranks = tuple(max(1, round(largest * n / max(full))) for n in full)
        if numbers(ranks) <= budget:
            low, best = largest, ranks
        else:
            high = largest - 1
    return best
