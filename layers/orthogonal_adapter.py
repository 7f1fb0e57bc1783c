"""A rotation of a representation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds._matrix_exp import matrix_exp
from isometry.manifolds._precision import full_precision


def rotation(skew: Float[Tensor, " m"], n: int) -> Float[Tensor, "n n"]:
    """Return ``exp(P)``, P the skew-symmetric matrix with the ``n(n-1)/2`` entries ``skew`` above its diagonal."""
    row, column = torch.triu_indices(n, n, 1, device=skew.device)
    upper = skew.new_zeros(n, n).index_put((row, column), skew)
    return matrix_exp(upper - upper.mT)


class OrthogonalAdapter(FullPrecision):
    r"""The rotation ``B x`` with ``B = exp(P)`` and P skew-symmetric, trained without constraint.

    It maps one representation to another and changes no distance, angle or neighbourhood in it. Every rotation is such
    an exponential; a reflection is not. It starts as the identity.

    Args:
        n: Coordinates of a representation, at least 2.
        dtype: Of the parameter, the entries of P above its diagonal.
        device: Of the parameter.

    Raises:
        ValueError: If ``n`` is less than 2.

    Source: Ricci et al. 2025, Lambda-orthogonality regularization for compatible representation learning.
    """

    def __init__(self, n: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> None:
        super().__init__()
        if n < 2:
            raise ValueError(f"OrthogonalAdapter: expected at least 2 coordinates, but got n={n}.")
        self.n = n
        self.skew = nn.Parameter(torch.zeros(n * (n - 1) // 2, dtype=dtype, device=device))

    @property
    def weight(self) -> Float[Tensor, "n n"]:
        """The rotation matrix B."""
        return self._rotation(self.skew)

    @full_precision
    def _rotation(self, skew: Tensor) -> Tensor:
        return rotation(skew, self.n)

    @full_precision
    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """Return ``B x``."""
        return x @ rotation(self.skew.to(x.dtype), self.n).mT

    def extra_repr(self) -> str:
        """Return the size."""
        return f"{self.n}"
