"""Tensors made smaller mode by mode."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.tensor._modes import pull
from isometry.manifolds import Manifold, ShapeError, SpecialOrthogonal, StiefelEuclidean, register_manifold
from isometry.manifolds.low_rank._linalg import random_basis


def check_shape(layer: nn.Module, x: Tensor, in_shape: Sequence[int]) -> None:
    """Raise ``ShapeError`` unless ``x`` is a batch of tensors of ``in_shape``."""
    if tuple(x.shape[1:]) != tuple(in_shape):
        raise ShapeError(f"{type(layer).__name__}: expected [b, *{tuple(in_shape)}], but got {list(x.shape)}.")


class TensorContraction(nn.Module):
    r"""Project each mode of a tensor: ``Y = X x_1 U_1^T ... x_d U_d^T + b``, a Kronecker product of small matrices.

    Args:
        in_shape: ``n_1, ..., n_d``.
        out_shape: ``r_1, ..., r_d``, each at most ``n_k``.
        orthogonal: Whether the U_k keep their orthonormal columns: points of Stiefel manifolds, for the optimizers of
            ``isometry.trainers.optim``. At the start they are orthonormal in any case, so that white noise stays white.
        bias: Whether there is a b, ``[*out_shape]``.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If the shapes do not fit each other.

    Source: Kossaifi et al. 2017, Tensor contraction layers for parsimonious deep nets.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_shape: Sequence[int],
        *,
        orthogonal: bool = False,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_shape, self.out_shape, self.orthogonal = tuple(in_shape), tuple(out_shape), orthogonal
        if len(self.in_shape) != len(self.out_shape) or not all(
            1 <= r <= n for n, r in zip(self.in_shape, self.out_shape, strict=True)
        ):
            raise ValueError(
                "TensorContraction: expected an out_shape with as many modes as in_shape, each between 1 and that of "
                f"in_shape, but got {self.in_shape} and {self.out_shape}."
            )
        for k, (n, r) in enumerate(zip(self.in_shape, self.out_shape, strict=True)):
            self._add_factor(f"U{k}", n, r, dtype, device)
        bound = 1 / math.sqrt(math.prod(self.in_shape))
        self.bias = (
            nn.Parameter(torch.empty(self.out_shape, dtype=dtype, device=device).uniform_(-bound, bound))
            if bias
            else None
        )

    def _add_factor(
        self, name: str, n: int, r: int, dtype: torch.dtype | None, device: torch.device | str | None
    ) -> None:
        """Add a matrix with orthonormal columns, on its manifold if it is to stay there."""
        if not self.orthogonal or n == 1:  # of a number of modulus 1 there is nothing to learn
            factor = nn.Parameter(random_basis((n, r), None, dtype, device), requires_grad=not self.orthogonal)
            self.register_parameter(name, factor)
            return
        manifold: Manifold = SpecialOrthogonal(n) if n == r else StiefelEuclidean(n, r)
        self.register_parameter(name, nn.Parameter(manifold.random(n, r, dtype=dtype, device=device)))
        register_manifold(self, name, manifold)

    def forward(self, x: Float[Tensor, "b *n"]) -> Float[Tensor, "b *r"]:
        """Return the projected tensors."""
        check_shape(self, x, self.in_shape)
        y = pull(x, [getattr(self, f"U{k}") for k in range(len(self.in_shape))])
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return the shapes."""
        return f"{self.in_shape}, {self.out_shape}, orthogonal={self.orthogonal}"
