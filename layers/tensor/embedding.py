"""Lookup tables that are tensors in factors."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import Self

from isometry.layers.tensor._work import BALANCE
from isometry.layers.tensor.fold import Fold
from isometry.layers.tensor.layer import TensorLayer
from isometry.manifolds.low_rank.base import Ranks


class Embedding(TensorLayer):
    r"""A lookup ``index -> W[index]`` with the table W in factors, of which only the rows asked for are computed.

    The formats and folds are those of ``Linear``, for a matrix with a row for each index. A new table has entries of
    variance 1, as that of ``torch.nn.Embedding``.

    Args:
        num_embeddings: Number of rows.
        embedding_dim: Size of a row.
        rank: Ranks of the tensor; one number for all, or one for each of its bases.
        format: As for ``Linear``.
        fold: As for ``Linear``.
        max_rank: Ranks for which the parameters have room, if these are to grow; by default ``rank``.
        tangent_grad: Gradients are the coordinates of the projected gradient, for ``LowRankOptimizer`` and nothing
            else, instead of derivatives by the factors. Not for cp.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: The ranks are impossible for these sizes, or the format is unknown.
        ShapeError: The fold does not multiply to the sizes.

    Source: Hrinchuk et al. 2020, Tensorized embedding layers.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        rank: Ranks,
        *,
        format: str = "low_rank",
        fold: Fold | None = None,
        max_rank: Ranks | None = None,
        tangent_grad: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        norm = (num_embeddings * embedding_dim) ** 0.5
        self._build((num_embeddings, embedding_dim), rank, norm, format, fold, max_rank, tangent_grad, dtype)
        self.to(device=device, dtype=dtype)

    @classmethod
    def from_dense(
        cls,
        dense: nn.Embedding,
        *,
        ranks: Ranks | None = None,
        tol: float | None = None,
        budget: int | None = None,
        format: str = "low_rank",
        fold: Fold | None = None,
        max_rank: Ranks | None = None,
        tangent_grad: bool = False,
    ) -> Self:
        """Return a quasi-best approximation of a dense table; its arguments are those of ``Linear.from_dense``.

        Raises:
            ValueError: The table does what one in factors cannot: rows that are never trained, or kept short.
        """
        if dense.padding_idx is not None or dense.max_norm is not None or dense.scale_grad_by_freq:
            raise ValueError(
                "Embedding.from_dense: expected a table without padding_idx, max_norm and scale_grad_by_freq, for "
                f"factors are shared by all rows, but got {dense}."
            )
        layer = cls(
            dense.num_embeddings,
            dense.embedding_dim,
            1,
            format=format,
            fold=fold,
            tangent_grad=tangent_grad,
            dtype=dense.weight.dtype,
        )
        return layer._adopt(dense, ranks, tol, budget, max_rank)

    def forward(self, index: Int[Tensor, "*b"]) -> Float[Tensor, "*b n"]:
        """Return the rows at ``index``."""
        flat = index.reshape(-1)
        lookup = BALANCE * len(flat) * self.embedding_dim
        w = self._weight(len(flat), self.factors.row_work(len(flat)), lookup)
        if w is not None:
            return F.embedding(index, w)
        return self.factors.evaluate(self.factors.rows, flat, None).reshape(*index.shape, self.embedding_dim)

    def to_dense(self) -> nn.Embedding:
        """Return the ``torch.nn.Embedding`` with the same rows."""
        w = self.factors.leaves[0]
        dense = nn.Embedding(self.num_embeddings, self.embedding_dim, device=w.device, dtype=w.dtype)
        self._fill(dense)
        return dense

    def extra_repr(self) -> str:
        """Return the sizes and the format."""
        return f"{self.num_embeddings}, {self.embedding_dim}, format={self.format!r}"
