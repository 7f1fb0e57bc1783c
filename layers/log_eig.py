"""The logarithm that takes covariance matrices to a flat space."""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds._precision import full_precision
from isometry.manifolds.spectral import LOG, Compose, Rectifier, sym_function


class LogEig(FullPrecision):
    r"""The matrix logarithm ``U log(L) U^T``, or with ``eps`` that of the rectified matrix, ``U log(max(L, eps)) U^T``.

    ``LogEig(eps)`` is ``ReEig(eps)`` and the logarithm as one function of the eigenvalues: one decomposition.

    Args:
        eps: The least eigenvalue, positive; None for matrices known to be positive definite (of others the
            logarithm is not finite).
        upcast: Compute in float64 whatever the input. Computing in float32 loses as many digits as the condition
            number has, and so does rounding the input to float32.

    Source: Huang & Van Gool 2017, A Riemannian network for SPD matrix learning, equations 3 and 5.
    """

    def __init__(self, eps: float | None = None, *, upcast: bool = False) -> None:
        super().__init__()
        if eps is not None and not eps > 0:
            raise ValueError(f"LogEig: expected a positive eps, or None, but got {eps}.")
        self.eps, self.upcast = eps, upcast
        self._function = LOG if eps is None else Compose(LOG, Rectifier(eps))

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return float64 with ``upcast``, else float32 at least."""
        return torch.float64 if self.upcast else super().compute_dtype(dtype)

    @full_precision
    def forward(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """Return the logarithm of the symmetric ``x``, a symmetric matrix."""
        return sym_function(x, self._function)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"eps={self.eps}, upcast={self.upcast}"
