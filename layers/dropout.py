"""Dropout of points of a manifold."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout

from isometry.layers._translation import origin_like
from isometry.manifolds import HomogeneousManifold
from isometry.manifolds._precision import full_precision


class Dropout(nn.Module):
    r"""Points whose normal coordinates at the origin are dropped at random: ``exp_E(dropout(log_E x))`` in training.

    Each coordinate of ``log_E x`` in an orthonormal frame is 0 with probability p, else divided by ``1 - p``, so that
    the mean of the tangent vector stays. On ``Euclidean(n)`` it is ``nn.Dropout``; on the matrices of the log-Euclidean
    or the affine-invariant metric it acts on the matrix logarithm. In eval mode it does nothing.

    Args:
        manifold: Where the points lie; one with an orthonormal frame at the origin.
        p: Probability, in [0, 1).

    Raises:
        ValueError: If the manifold has no frame, or p is out of its range.

    Source: Srivastava et al. 2014, in the tangent space at the origin as the other operations of Ganea, Becigneul &
    Hofmann 2018, Hyperbolic neural networks, and of Chami et al. 2019.
    """

    def __init__(self, manifold: HomogeneousManifold, p: float = 0.5) -> None:
        super().__init__()
        if not manifold.supports(HomogeneousManifold):
            raise ValueError(
                f"Dropout: expected a HomogeneousManifold, which has a frame at the origin, but got {manifold!r}; "
                "give another geometry of the same points."
            )
        if not 0 <= p < 1:
            raise ValueError(f"Dropout: expected a probability 0 <= p < 1, but got p={p}.")
        self.manifold, self.p = manifold, p

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    @full_precision
    def forward(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Return the points ``[*b, *point_shape]``, with coordinates dropped while training."""
        m = self.manifold
        m.check_shape(x)
        if not self.training or self.p == 0:
            return x
        origin = origin_like(m, x)
        return m.expmap(origin, m.origin_vector(dropout(m.origin_coordinates(m.logmap(origin, x)), self.p)))

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}"
