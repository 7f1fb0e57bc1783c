"""Linear maps of tensors to tensors, their weight a tensor in factors."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Self

from isometry.layers.tensor.contraction import check_shape
from isometry.layers.tensor.dropout import TensorDropout
from isometry.layers.tensor.linear import Linear
from isometry.manifolds.low_rank.base import Ranks


class TensorRegression(nn.Module):
    r"""``y = <X, W> + b``: the contraction of a tensor with all input modes of ``W [*out_shape, *in_shape]``.

    It is ``Linear`` of the flattened input with the modes as its fold, so it keeps what flattening forgets: which
    entries share a mode. W has the format "tucker", ``C x_1 U_1 ... x_d U_d``, or "cp", ``sum_r u_r^1 o ... o u_r^d``.

    Args:
        in_shape: Modes of the input.
        out_shape: Modes of the output.
        rank: Ranks of W, those of the outputs first; one number for all.
        format: "tucker" or "cp".
        dropout: Probability with which entries of the ranks are dropped in training, see ``TensorDropout``.
        tangent_grad: Gradients are the coordinates of the projected gradient, for ``LowRankOptimizer``; see ``Linear``.
            Excludes dropout, which is one of the columns of the factors, whose choice such gradients do not depend on.
        bias: Whether there is a b, ``[*out_shape]``.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If the format is another one, the ranks are impossible, or dropout meets tangent gradients.

    Source: Kossaifi et al. 2020, Tensor regression networks; dropout: Kolbeinsson et al. 2021, Tensor dropout for
    robust learning.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        rank: Ranks,
        format: str = "tucker",
        dropout: float = 0.0,
        tangent_grad: bool = False,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if format not in ("tucker", "cp"):
            raise ValueError(f"TensorRegression: expected the format 'tucker' or 'cp', but got {format!r}.")
        if dropout and tangent_grad:
            raise ValueError("TensorRegression: expected dropout=0 with tangent_grad, but got both.")
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)
        self.dropout = TensorDropout(dropout)
        self.linear = Linear(
            math.prod(self.in_shape),
            math.prod(self.out_shape),
            rank,
            format=format,
            fold=(self.out_shape, self.in_shape),
            tangent_grad=tangent_grad,
            bias=bias,
            dtype=dtype,
            device=device,
        )

    @classmethod
    def from_dense(
        cls,
        linear: nn.Linear,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        ranks: Ranks | None = None,
        tol: float | None = None,
        budget: int | None = None,
        dropout: float = 0.0,
        tangent_grad: bool = False,
    ) -> Self:
        """Return a Tucker approximation of a linear layer of flattened tensors; see ``Linear.from_dense``."""
        layer = cls(in_shape, out_shape, rank=1, dropout=dropout, tangent_grad=tangent_grad)
        layer.linear = Linear.from_dense(
            linear,
            ranks=ranks,
            tol=tol,
            budget=budget,
            format="tucker",
            fold=(layer.out_shape, layer.in_shape),
            tangent_grad=tangent_grad,
        )
        return layer

    def to_dense(self) -> nn.Linear:
        """Return the linear layer of flattened tensors that computes the same."""
        return self.linear.to_dense()

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *o"]:
        """Return ``<X, W> + b``, in training with some of the ranks dropped."""
        check_shape(self, x, self.in_shape)
        flat = x.flatten(1)
        y = self._dropped(flat) if self.training and self.dropout.p > 0 else self.linear(flat)
        return y.unflatten(-1, self.out_shape)

    def _dropped(self, x: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        weight = self.linear.factors
        first, *others = weight.leaves
        if self.linear.format == "tucker":
            dropped = self.dropout(first)
        else:  # the weights of the terms are 1, and stand before the columns of the first factor
            dropped = first * self.dropout(first.new_ones(first.shape[-1]))
        return weight.linear(x, [dropped, *others], self.linear.bias)

    def extra_repr(self) -> str:
        """Return the shapes."""
        return f"{self.in_shape}, {self.out_shape}"
