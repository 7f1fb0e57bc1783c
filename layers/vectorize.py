"""Symmetric matrices as vectors."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Vectorize(nn.Module):
    r"""The isometry of symmetric matrices and vectors: the upper triangle by rows, off the diagonal times ``sqrt 2``.

    ``|vec(X)| = |X|_F``, so that a linear layer and its weight decay act as they would on whole matrices, with half
    of the parameters.

    Args:
        n: Rows of the matrices; the vectors have length n(n+1)/2.

    Source: Pennec, Fillard & Ayache 2006; Barachant et al. 2012, Multiclass brain-computer interface
    classification by Riemannian geometry.
    """

    places: Tensor
    multiplicity: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        if n < 1:
            raise ValueError(f"Vectorize: expected matrices of at least one row, but got n={n}.")
        self.n = n
        row, column = torch.triu_indices(n, n)
        self.register_buffer("places", row * n + column, persistent=False)
        self.register_buffer("multiplicity", torch.where(row == column, 1, 2), persistent=False)

    def forward(self, x: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b m"]:
        """Return the upper triangles, shape ``[*b, n(n+1)/2]``."""
        return x.flatten(-2).index_select(-1, self.places) * self.multiplicity.to(x.dtype).sqrt()

    def extra_repr(self) -> str:
        """Return the size."""
        return f"{self.n}"
