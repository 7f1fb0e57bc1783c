"""The orthonormal frame of a full-rank matrix."""

import torch
from jaxtyping import Float
from torch import Tensor

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds import ShapeError
from isometry.manifolds._precision import full_precision


def re_orth(x: Float[Tensor, "*b n k"]) -> Float[Tensor, "*b n k"]:
    """Return Q of ``x = Q R`` with a positive diagonal in R: the sign makes Q a smooth function of ``x``."""
    q, r = torch.linalg.qr(x)
    return torch.where(r.diagonal(dim1=-2, dim2=-1).unsqueeze(-2) < 0, -q, q)


class ReOrth(FullPrecision):
    r"""A frame of the space that the columns of X span: Q of the QR decomposition ``X = Q R``.

    X has at least as many rows as columns, which are independent; the derivatives grow as the inverse of R does.

    Raises:
        ShapeError: If X has fewer rows than columns.

    Source: Huang, Wu & Van Gool 2018, Building deep networks on Grassmann manifolds, projection block.
    """

    @full_precision
    def forward(self, x: Float[Tensor, "*b n k"]) -> Float[Tensor, "*b n k"]:
        """Return the frame."""
        if x.shape[-2] < x.shape[-1]:
            raise ShapeError(
                f"ReOrth: expected at least as many rows as columns, but got {tuple(x.shape)}: so many columns "
                "cannot be independent. Map to a larger space, or to fewer columns."
            )
        return re_orth(x)
