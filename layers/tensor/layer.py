"""What tensorized layers share: how they are built, and which way they compute."""

import weakref
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import Self

from isometry.layers.tensor._work import Work
from isometry.layers.tensor.cp_weight import ChainWeight, CPWeight
from isometry.layers.tensor.fold import Fold
from isometry.layers.tensor.matrix_weight import KroneckerWeight, LowRankWeight
from isometry.layers.tensor.train_weight import TrainWeight
from isometry.layers.tensor.tucker_weight import TuckerWeight
from isometry.layers.tensor.weight import TensorWeight
from isometry.manifolds.low_rank.base import Ranks

FORMATS: dict[str, type[TensorWeight]] = {
    "low_rank": LowRankWeight,
    "kronecker": KroneckerWeight,
    "tucker": TuckerWeight,
    "cp": CPWeight,
    "chain": ChainWeight,
    "tt": TrainWeight,
}


def uniform_bias(size: int, fan_in: int) -> nn.Parameter:
    """Return a new bias as those of ``torch.nn``: uniform within ``1/sqrt(fan_in)``."""
    bound = fan_in**-0.5
    return nn.Parameter(torch.empty(size).uniform_(-bound, bound))


class TensorLayer(nn.Module):
    """A layer whose weight is a ``TensorWeight``, named ``factors``.

    For each input it takes the way of least work: contraction with the factors, or the dense layer after assembly of
    the weight. In eval mode without gradients an assembled weight is kept until a factor changes (what is written
    through ``Tensor.data`` goes unseen, as in autograd), so that the dense layer is the least that it can be.
    """

    factors: TensorWeight
    bias: nn.Parameter | None

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[list[Any], Tensor] | None = None

    def _build(
        self,
        shape: tuple[int, ...],
        rank: Ranks,
        norm: float,
        format: str,
        fold: Fold | None,
        max_rank: Ranks | None,
        tangent_grad: bool,
        dtype: torch.dtype | None,
    ) -> None:
        """Draw the factors of a weight of this shape and norm."""
        if format not in FORMATS:
            raise ValueError(f"{type(self).__name__}: expected one of the formats {sorted(FORMATS)}, but got {format}.")
        self.format, self._fold = format, fold
        self.factors = FORMATS[format](shape, fold, tangent_grad)
        wide = torch.promote_types(dtype or torch.get_default_dtype(), torch.float32)
        self.factors.allocate(self.factors.draw(rank, norm, wide), max_rank)

    def _adopt(
        self,
        dense: nn.Module,
        ranks: Ranks | None,
        tol: float | None,
        budget: int | None,
        max_rank: Ranks | None,
    ) -> Self:
        """Replace the factors by those of the dense layer's weight, and the bias by a copy of its bias."""
        if ranks is None and tol is None and budget is None:
            raise ValueError(f"{type(self).__name__}.from_dense: expected ranks, tol or budget, but got none of them.")
        w = dense.get_parameter("weight").detach()
        old = self.factors
        self.factors = type(old)(old.shape, self._fold, old.tangent_grad)
        with torch.no_grad(), torch.autocast(w.device.type, enabled=False):
            leaves = self.factors.decompose(w.to(torch.promote_types(w.dtype, torch.float32)), ranks, tol, budget)
        self.factors.allocate([leaf.to(w.dtype) for leaf in leaves], max_rank)
        bias = dense._parameters.get("bias")
        if bias is not None:
            self.bias = nn.Parameter(bias.detach().clone())
        self.train(dense.training)
        return self.to(w.device)

    @abstractmethod
    def to_dense(self) -> nn.Module:
        """Return the layer of ``torch.nn`` that computes the same."""

    def _fill(self, dense: nn.Module) -> nn.Module:
        """Copy weight and bias into a dense layer."""
        with torch.no_grad():
            dense.get_parameter("weight").copy_(self.factors.dense())
            for name, bias in self.named_parameters(recurse=False):
                dense.get_parameter(name).copy_(bias)
        return dense.train(self.training)

    # --- which way --------------------------------------------------------------------------------------------

    def _weight(self, count: int, factored: Work, dense: Work) -> Float[Tensor, "..."] | None:
        """Return the dense weight if the way of the dense layer is the one of less work, else None.

        It is that of an empty batch, too, of which no sizes can be inferred.
        """
        if count == 0:
            return self.factors.dense()
        may_keep = not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
        if may_keep:
            return self._kept_weight() if dense < factored else None
        return self.factors.dense() if dense + self.factors.assembly_work() < factored else None

    def _kept_weight(self) -> Float[Tensor, "..."]:
        """Return the assembled weight, made anew if a factor is another tensor or was written to."""
        leaves = self.factors.leaves
        if self._kept is not None:
            marks, weight = self._kept
            if all(ref() is p and at == (p._version, p.data_ptr()) for (ref, at), p in zip(marks, leaves, strict=True)):
                return weight
        weight = self.factors.dense()
        self._kept = ([(weakref.ref(p), (p._version, p.data_ptr())) for p in leaves], weight)
        return weight

    def train(self, mode: bool = True) -> Self:
        """Set the mode, and forget the kept weight."""
        self._kept = None
        return super().train(mode)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        self._kept = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}
