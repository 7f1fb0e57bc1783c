"""Linear layers whose weight is a tensor in factors."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Self

from isometry.layers.tensor._work import Size
from isometry.layers.tensor.fold import Fold
from isometry.layers.tensor.layer import TensorLayer, uniform_bias
from isometry.manifolds.low_rank.base import Ranks


class Linear(TensorLayer):
    r"""A linear map ``y = W x + b`` with W in factors.

    ========= =================================== =====================================================
    format    W                                   fold
    ========= =================================== =====================================================
    low_rank  ``U S V^T``                         none
    kronecker ``sum_i A_i (x) S_i``               ``((n1, n2), (m1, m2))``: A_i is n1 x m1, S_i n2 x m2
    tucker    ``C x_1 U_1 ... x_d U_d``           modes of the outputs, modes of the inputs
    cp        ``sum_i u_i^1 o ... o u_i^d``       the same
    tt        ``G_1[o_1 i_1] ... G_d[o_d i_d]``   the same, as many of the outputs as of the inputs
    ========= =================================== =====================================================

    At a tenth of the parameters a layer of low rank or Tucker has a tenth of the multiplications, but one in the
    formats cp and tt, and of many Kronecker terms, has more than the dense one, which it can then at best equal.

    PHM layers of n are ``format="kronecker", fold=((n, out // n), (n, in // n)), rank=n``. A new layer has factors with
    orthonormal columns and singular values as flat as the format has them; the variance of the outputs is that of
    ``torch.nn.Linear``.

    Args:
        in_features: Size of the inputs.
        out_features: Size of the outputs.
        rank: Ranks of the tensor; one number for all, or one for each of its bases.
        format: One of the above.
        fold: Sizes into which rows and columns are folded; by default two balanced ones of each, where folded.
        max_rank: Ranks for which the parameters have room, if these are to grow; by default ``rank``.
        tangent_grad: Gradients are the coordinates of the projected gradient, for ``LowRankOptimizer`` and nothing
            else, instead of derivatives by the factors. Not for cp.
        bias: Whether to add a learned b.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: The ranks are impossible for these sizes, or the format is unknown.
        ShapeError: The fold does not multiply to the sizes.

    Source: the formats' own; low rank, Schotthoefer et al. 2022; Kronecker, Zhang et al. 2021; Tucker and cp, Kossaifi
        et al. 2020, Tensor regression networks; trains, Novikov et al. 2015, Tensorizing neural networks.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: Ranks,
        *,
        format: str = "low_rank",
        fold: Fold | None = None,
        max_rank: Ranks | None = None,
        tangent_grad: bool = False,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self._build(
            (out_features, in_features), rank, (out_features / 3) ** 0.5, format, fold, max_rank, tangent_grad, dtype
        )
        self.bias = uniform_bias(out_features, in_features) if bias else None
        self.to(device=device, dtype=dtype)

    @classmethod
    def from_dense(
        cls,
        dense: nn.Linear,
        *,
        ranks: Ranks | None = None,
        tol: float | None = None,
        budget: int | None = None,
        format: str = "low_rank",
        fold: Fold | None = None,
        max_rank: Ranks | None = None,
        tangent_grad: bool = False,
    ) -> Self:
        """Return a quasi-best approximation of a dense layer.

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
            dense.in_features,
            dense.out_features,
            1,
            format=format,
            fold=fold,
            tangent_grad=tangent_grad,
            bias=dense.bias is not None,
            dtype=dense.weight.dtype,
        )
        return layer._adopt(dense, ranks, tol, budget, max_rank)

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        """Return ``W x + b``."""
        rows = x.reshape(-1, self.in_features)
        size = Size(len(rows), len(rows))
        w = self._weight(len(rows), self.factors.contraction_work(size, 1), self.factors.dense_work(size))
        if w is not None:
            return F.linear(x, w, self.bias)
        y = self.factors.multiply(rows, self.bias)
        return y.reshape(*x.shape[:-1], self.out_features)

    def to_dense(self) -> nn.Linear:
        """Return the ``torch.nn.Linear`` that computes the same."""
        bias, w = self.bias is not None, self.factors.leaves[0]
        dense = nn.Linear(self.in_features, self.out_features, bias, device=w.device, dtype=w.dtype)
        self._fill(dense)
        return dense

    def extra_repr(self) -> str:
        """Return the sizes and the format."""
        return f"{self.in_features}, {self.out_features}, format={self.format!r}, bias={self.bias is not None}"
