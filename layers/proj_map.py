"""The projection of a frame to its projector."""

from jaxtyping import Float
from torch import Tensor

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds._precision import full_precision


class ProjMap(FullPrecision):
    r"""The projector ``X X^T`` of the subspace with frame X: the same for all its frames, and one for each subspace.

    Source: Huang, Wu & Van Gool 2018, Building deep networks on Grassmann manifolds, output block.
    """

    @full_precision
    def forward(self, x: Float[Tensor, "*b n k"]) -> Float[Tensor, "*b n n"]:
        """Return ``x x^T``."""
        return x @ x.mT
