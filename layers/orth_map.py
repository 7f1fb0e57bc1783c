"""The dominant subspace of a symmetric matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds import ShapeError
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import with_value
from isometry.manifolds.spectral import spectrum


def orth_map(x: Float[Tensor, "*b n n"], k: int) -> Float[Tensor, "*b n k"]:
    """Return the eigenvectors U of the k largest eigenvalues, differentiated as a frame of the space that they span.

    With the other eigenvectors V, ``U + V z`` spans the invariant subspace of a matrix near ``x`` where
    ``V^T x V z - z U^T x U + V^T x U - z U^T x V z = 0``. Autograd records two steps of Newton's method for z from 0,
    the first of which is exact to the first order and the second to the second. They divide by the gaps between kept
    and dropped eigenvalues, and by no other.
    """
    x = (x + x.mT) / 2
    values, vectors = spectrum(x)
    cut = x.shape[-1] - k
    others, kept = vectors[..., :cut], vectors[..., cut:]
    gap = values[..., None, cut:] - values[..., :cut, None]
    gap = torch.where(gap == 0, torch.inf, gap)
    coupling = others.mT @ x @ kept  # 0 up to rounding
    z = coupling / gap
    z = z + (others.mT @ x @ others @ z - z @ (kept.mT @ x @ kept) + coupling - z @ coupling.mT @ z) / gap
    frame = kept + others @ z
    return with_value(kept, frame - frame @ (z.mT @ z) / 2)


class OrthMap(FullPrecision):
    r"""The space of the k largest eigenvalues of a symmetric matrix ``X = U L U^T``, as the frame ``U[:, :k]``.

    An eigenvector can turn within the space of equal eigenvalues, and has no derivative there; the space has one. What
    follows must depend on the space alone, as every function of ``ProjMap``'s output or of Grassmann distances does.
    Its first and second derivatives are then exact, also where kept eigenvalues coincide. They grow as the inverse of
    the gap to the dropped eigenvalues; where it is 0, and the space no longer determined, that part is taken as 0.

    Args:
        k: Dimension of the space.

    Raises:
        ShapeError: If X has fewer than k rows.

    Source: Huang, Wu & Van Gool 2018, Building deep networks on Grassmann manifolds, pooling block;
    derivatives of an invariant subspace: Stewart & Sun 1990, Matrix Perturbation Theory, section V.2.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"OrthMap: expected a space of dimension k >= 1, but got k={k}.")
        self.k = k

    @full_precision
    def forward(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n k"]:
        """Return the frame."""
        if x.shape[-1] < self.k:
            raise ShapeError(f"OrthMap: expected matrices of at least k={self.k} rows, but got {tuple(x.shape)}.")
        return orth_map(x, self.k)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"k={self.k}"
