"""The way into hyperbolic space, and out of it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers.hyperbolic._hyperboloid import Space, SpaceLayer, curvature, exp_spatial, log_spatial
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import norm


class ToHyperbolic(SpaceLayer):
    r"""Features as points: ``exp_o(u)``, the features coordinates of u in an orthonormal frame at the origin o.

    A feature vector of length r becomes a point at the distance r. In code that takes the ball's own coordinates for
    those of tangent vectors the distance is ``2 r``.

    Args:
        manifold: Where the points lie; its dimension is that of the features.

    Raises:
        ValueError: If the manifold has no constant curvature of at most 0.

    Source: Ganea, Becigneul & Hofmann 2018, Hyperbolic neural networks, section 2.
    """

    def __init__(self, manifold: Space) -> None:
        super().__init__(manifold)

    def forward(self, u: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
        """Return points for features ``[*b, dim]``."""
        return self.manifold.from_spatial(self._image(u))

    @full_precision
    def _image(self, u: Tensor) -> Tensor:
        return exp_spatial(u, curvature(self.manifold))


class FromHyperbolic(SpaceLayer):
    r"""Points as features: the coordinates of ``log_o(x)`` in an orthonormal frame at the origin o.

    Args:
        manifold: Where the points lie.

    Raises:
        ValueError: If the manifold has no constant curvature of at most 0.

    Source: Ganea, Becigneul & Hofmann 2018, Hyperbolic neural networks, section 2.
    """

    def __init__(self, manifold: Space) -> None:
        super().__init__(manifold)

    def forward(self, x: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n"]:
        """Return features ``[*b, dim]`` of points."""
        return self._logs(self._spatial(x))

    @full_precision
    def _logs(self, s: Tensor) -> Tensor:
        return log_spatial(s, curvature(self.manifold))


class FeatureClipping(nn.Module):
    r"""Features no longer than a radius: ``u min(1, r/|u|)``, before they become points.

    Args:
        radius: r, positive. ``ToHyperbolic`` then makes points up to the distance r.

    Raises:
        ValueError: If the radius is not positive.

    Source: Guo, Wang, Chen & Yu 2022, Clipped hyperbolic classifiers are super-hyperbolic classifiers.
    """

    def __init__(self, radius: float) -> None:
        super().__init__()
        if not radius > 0:
            raise ValueError(f"FeatureClipping: expected a positive radius, but got {radius}.")
        self.radius = radius

    def forward(self, u: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """Return the features ``[*b, n]``, shortened where they are longer."""
        length = norm(u, keepdim=True)
        return torch.where(length > self.radius, self.radius / torch.where(length > 0, length, 1), 1) * u

    def extra_repr(self) -> str:
        """Return the radius."""
        return f"radius={self.radius}"
