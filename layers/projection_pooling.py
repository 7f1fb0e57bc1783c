"""Mean pooling of projectors."""

from jaxtyping import Float
from torch import Tensor

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds import ShapeError
from isometry.manifolds._precision import full_precision


class ProjectionPooling(FullPrecision):
    r"""The mean of the projectors of neighbouring channels, ``1/m sum_i P_i``, and of square patches of entries.

    The mean of projectors is the projectors' Frechet mean in the distance ``|P - Q|_F``, up to the choice of its
    dominant subspace (``OrthMap``). The mean over patches is ``A P A^T`` with the matrix A that averages neighbouring
    coordinates. Both are symmetric and positive semidefinite, but no projectors.

    Args:
        channels: How many neighbouring channels become one.
        patch: How many neighbouring rows, and columns, become one.

    Raises:
        ShapeError: If the number of channels or of rows is no multiple.

    Source: Huang, Wu & Van Gool 2018, Building deep networks on Grassmann manifolds, pooling block
    (A-ProjPooling and W-ProjPooling).
    """

    def __init__(self, channels: int = 1, patch: int = 1) -> None:
        super().__init__()
        if channels < 1 or patch < 1:
            raise ValueError(f"ProjectionPooling: expected sizes >= 1, but got channels={channels}, patch={patch}.")
        self.channels, self.patch = channels, patch

    @full_precision
    def forward(self, x: Float[Tensor, "*b c n n"]) -> Float[Tensor, "*b d m m"]:
        """Return the means, of shape ``[*b, c / channels, n / patch, n / patch]``."""
        if x.shape[-3] % self.channels or x.shape[-1] % self.patch:
            raise ShapeError(
                f"ProjectionPooling: expected a multiple of {self.channels} channels and of {self.patch} rows, "
                f"but got {tuple(x.shape)}."
            )
        x = x.unflatten(-3, (-1, self.channels)).mean(-3)
        return x.unflatten(-1, (-1, self.patch)).unflatten(-3, (-1, self.patch)).mean((-3, -1))

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"channels={self.channels}, patch={self.patch}"
