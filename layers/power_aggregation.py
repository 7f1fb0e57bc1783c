"""Sums over a set whose width, polynomial in the set's size, makes them one-to-one."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn.aggr import Aggregation


class LPAggregation(Aggregation):
    r"""Power sums of linear features, ``sum_i [T_p(w_k . x_i)]`` for directions k and powers p: linear, then power.

    The power p of ``t = w_k . x`` is replaced by Chebyshev's polynomial less its value at 0, ``T_p(t) - T_p(0)``. They
    span the same functions ``t, t^2, ..., t^N``, so that two sets have equal sums if and only if they have equal power
    sums; but on [-1, 1], where ``w_k`` of length 1 / ``radius`` puts features up to that length, they stay apart in
    float32 when powers have become equal. Adding zeros to a set changes nothing. With N at least the size of the sets
    and K from ``d + 1`` up to ``N^4 d^2`` directions sets have different sums; random directions do so with few.

    Args:
        in_features: d, features of an element.
        directions: K, the linear features.
        powers: N, the largest power, at least 1.
        radius: The length of elements that are well represented; longer ones may come, but powers grow.
        dtype: Of the weight.
        device: Of the weight.

    Source: Wang et al. 2023, Polynomial width is sufficient for set representation with high-dimensional features
    (LP).
    """

    def __init__(
        self,
        in_features: int,
        directions: int,
        powers: int,
        radius: float = 1.0,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if powers < 1:
            raise ValueError(f"LPAggregation: expected at least one power, but got powers={powers}.")
        self.powers = powers
        self.weight = nn.Parameter(_directions(in_features, directions, radius, dtype, device))

    @property
    def out_features(self) -> int:
        """Return the sums of a set."""
        return len(self.weight) * self.powers

    def forward(
        self,
        x: Float[Tensor, "*b n d"],
        index: Int[Tensor, " n"] | None = None,
        ptr: Int[Tensor, " p"] | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Float[Tensor, "*b s f"]:
        """Return the sums over sets, given as in every ``Aggregation``; one set if neither index nor ptr is given."""
        t = x @ self.weight.mT
        last, current = torch.ones_like(t), t
        terms = [current]
        for p in range(2, self.powers + 1):
            last, current = current, 2 * t * current - last
            terms.append(current - math.cos(p * math.pi / 2) if p % 2 == 0 else current)
        return self.reduce(torch.cat(terms, -1), _set_of_each(index, ptr), None, dim_size, dim, reduce="sum")

    def __repr__(self) -> str:
        directions, in_features = self.weight.shape
        return f"LPAggregation({in_features}, {directions}, powers={self.powers})"


class LEAggregation(Aggregation):
    r"""Sums of exponentials of linear features, ``log(1 + sum_i exp(v_k . x_i))``: linear, then exponential.

    The logarithm, which is one-to-one, keeps the sums within the format for elements of any length. An empty set
    gives 0.

    Args:
        in_features: d, features of an element.
        directions: L, the linear features; with ``N^4 d^2`` of them all sets of N elements have different sums, and
            with few random ones almost all have.
        radius: The length of elements for which the exponents are of order 1.
        dtype: Of the weight.
        device: Of the weight.

    Source: Wang et al. 2023, Polynomial width is sufficient for set representation with high-dimensional features
    (LE).
    """

    def __init__(
        self,
        in_features: int,
        directions: int,
        radius: float = 1.0,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(_directions(in_features, directions, radius, dtype, device))

    @property
    def out_features(self) -> int:
        """Return the sums of a set."""
        return len(self.weight)

    def forward(
        self,
        x: Float[Tensor, "*b n d"],
        index: Int[Tensor, " n"] | None = None,
        ptr: Int[Tensor, " p"] | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Float[Tensor, "*b s f"]:
        """Return the logarithms for sets, given as in every ``Aggregation``; one set if neither is given."""
        z, index = x @ self.weight.mT, _set_of_each(index, ptr)
        with torch.no_grad():  # the result does not depend on it; of an empty set, the maximum is 0
            largest = self.reduce(z, index, None, dim_size, dim, reduce="max").clamp_min(0)
        terms = torch.exp(z - largest.index_select(dim, index))
        return largest + torch.log(torch.exp(-largest) + self.reduce(terms, index, None, dim_size, dim, reduce="sum"))

    def __repr__(self) -> str:
        directions, in_features = self.weight.shape
        return f"LEAggregation({in_features}, {directions})"


def _set_of_each(index: Tensor | None, ptr: Tensor | None) -> Tensor:
    """Return the set of each element, also where the sets are given by their ends."""
    if index is not None:
        return index
    if ptr is None:
        raise ValueError("expected index or ptr: call the aggregation itself, not its forward.")
    return torch.arange(len(ptr) - 1, device=ptr.device).repeat_interleave(ptr.diff())


def _directions(
    in_features: int, count: int, radius: float, dtype: torch.dtype | None, device: torch.device | str | None
) -> Tensor:
    """Return random vectors of length ``1 / radius``."""
    if not radius > 0:
        raise ValueError(f"LPAggregation and LEAggregation: expected a positive radius, but got {radius}.")
    return nn.functional.normalize(torch.randn(count, in_features, dtype=dtype, device=device), dim=-1) / radius
