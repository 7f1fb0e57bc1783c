"""Vectors of several modalities, multiplied with each other."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LowRankFusion(nn.Module):
    r"""``y = <W, [1; x_1] o ... o [1; x_M]> + b``, W for each output of CP rank R, without the outer product.

    ``y = sum_r c_r prod_m (W_m^(r) [1; x_m])``: all products of entries of different modalities, up to the order M, in
    ``R out sum_m (d_m + 1)`` parameters instead of ``out prod_m (d_m + 1)``. The outputs of white inputs start with the
    variance 1/3, as those of ``torch.nn.Linear``.

    Args:
        in_features: ``d_1, ..., d_M``.
        out_features: Size of the output.
        rank: R.
        bias: Whether there is a b.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If a size is not positive.

    Source: Liu et al. 2018, Efficient low-rank multimodal fusion with modality-specific factors.
    """

    def __init__(
        self,
        in_features: Sequence[int],
        out_features: int,
        rank: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if not in_features or min(*in_features, out_features, rank) < 1:
            raise ValueError(
                "LowRankFusion: expected one modality or more, and positive sizes and rank, but got "
                f"{tuple(in_features)}, {out_features} and rank {rank}."
            )
        self.in_features, self.out_features, self.rank = tuple(in_features), out_features, rank
        # The constant 1 counts as one more input: each factor of a product has the variance 1.
        self.factors = nn.ParameterList(
            torch.randn(rank * out_features, n + 1, dtype=dtype, device=device) / math.sqrt(n + 1)
            for n in self.in_features
        )
        self.weight = nn.Parameter(torch.full((rank,), 1 / math.sqrt(3 * rank), dtype=dtype, device=device))
        self.bias = nn.Parameter(torch.zeros(out_features, dtype=dtype, device=device)) if bias else None

    def forward(self, *x: Float[Tensor, "*b _"]) -> Float[Tensor, "*b out"]:
        """Return the fused vectors of one tensor ``[*b, d_m]`` for each modality."""
        if [one.shape[-1] for one in x] != [*self.in_features]:
            raise ValueError(
                f"LowRankFusion: expected one tensor for each modality, with {self.in_features} features, but got "
                f"{[list(one.shape) for one in x]}."
            )
        first, *others = (nn.functional.linear(one, W[:, 1:], W[:, 0]) for one, W in zip(x, self.factors, strict=True))
        for term in others:
            first = first * term
        y = self.weight @ first.unflatten(-1, (self.rank, self.out_features))
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.in_features}, {self.out_features}, rank={self.rank}"
