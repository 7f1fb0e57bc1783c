"""The rectifier of eigenvalues."""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds._precision import captured, full_precision
from isometry.manifolds.spectral import Rectifier, spectrum, sym_function


def re_eig(x: Float[Tensor, "*b n n"], f: Rectifier) -> Float[Tensor, "*b n n"]:
    """Return ``U max(L, eps) U^T`` for ``x = U L U^T`` and ``f = max(., eps)``.

    A matrix whose eigenvalues are all above ``eps`` passes untouched, and so does its gradient. A Cholesky
    factorisation of ``x - eps I`` says which ones are, at a tenth of the cost of a decomposition and up to its rounding
    (``n`` units in the last place of the largest eigenvalue); only the others are decomposed.
    """
    if captured():  # no looking at values: all matrices are decomposed
        at = spectrum(x)
        return torch.where(at.values[..., :1, None] > f.eps, x, sym_function(x, f, at))
    matrices = x.reshape(-1, *x.shape[-2:])
    shifted = matrices.detach().clone()
    shifted.diagonal(dim1=-2, dim2=-1).sub_(f.eps)
    below = torch.linalg.cholesky_ex(shifted).info.nonzero().squeeze(1)
    if len(below) == 0:
        return x
    return matrices.index_copy(0, below, sym_function(matrices[below], f)).view(x.shape)


class ReEig(FullPrecision):
    r"""The nonlinearity of covariance matrices, ``U max(L, eps) U^T``: no eigenvalue below ``eps`` remains.

    Args:
        eps: The least eigenvalue, positive.

    Source: Huang & Van Gool 2017, A Riemannian network for SPD matrix learning, equation 3.
    """

    def __init__(self, eps: float = 1e-4) -> None:
        super().__init__()
        if not eps > 0:
            raise ValueError(f"ReEig: expected a positive eps, but got {eps}.")
        self.eps = eps
        self._function = Rectifier(eps)

    @full_precision
    def forward(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
        """Return the symmetric ``x`` with its eigenvalues raised to ``eps`` at least."""
        return re_eig(x, self._function)

    def extra_repr(self) -> str:
        """Return the threshold."""
        return f"eps={self.eps}"
