"""Distances to points at infinity."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from isometry.layers.hyperbolic._hyperboloid import Curvature, Space, SpaceLayer, curvature, is_flat, time_of
from isometry.manifolds import ShapeError, Sphere, register_manifold
from isometry.manifolds._precision import full_precision
from isometry.manifolds._smooth import norm, with_value


def busemann(s: Float[Tensor, "*b n"], ideal: Float[Tensor, "k n"], c: Curvature) -> Float[Tensor, "*b k"]:
    r"""Return ``log(t - sqrt(c) s.xi)/sqrt(c)`` of points given by their spatial parts; xi is brought to length 1.

    The value is that of ``1/(t + sqrt(c)|s|) + sqrt(c) (|s| - s.xi)``, whose terms are positive. In float64 it resolves
    what points stored in float32 do, up to radius 20.
    """
    product = s @ normalize(ideal.to(s.dtype), dim=-1).mT
    if is_flat(c):
        return -product
    root, time, length = c**0.5, time_of(s, c), norm(s, keepdim=True)
    exact = 1 / (time + root * length) + root * (length - product).clamp_min(0)
    return with_value(exact, time - root * product).log() / root


class Busemann(SpaceLayer):
    r"""Features ``B_k(x) = log(t - sqrt(c) s.xi_k)/sqrt(c)``: which horosphere around the ideal point ``xi_k`` has x.

    On the ball that is ``log(|sqrt(c) x - xi|^2 / (1 - c|x|^2))/sqrt(c)``: the limit of ``d(x, z) - d(o, z)`` as z goes
    to the point ``xi`` of the boundary. Isometries change ``B_k`` by a constant only. On ``Euclidean(n)`` it is
    ``-x.xi``.

    Args:
        manifold: Where the points lie, of at least two dimensions.
        num_features: Number of ideal points, learned on the unit sphere.
        dtype: Of the ideal points.
        device: Of the ideal points.

    Raises:
        ValueError: If there is no feature, or the manifold has no constant curvature of at most 0.

    Source: Bonet et al. 2023, Hyperbolic sliced-Wasserstein via geodesic and horospherical projections; as features
    Fan, Yang & Vemuri 2023, Horospherical decision boundaries for large margin classification in hyperbolic space.
    """

    def __init__(
        self,
        manifold: Space,
        num_features: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(manifold)
        if num_features < 1:
            raise ValueError(f"Busemann: expected num_features >= 1, but got {num_features}.")
        sphere = Sphere(manifold.dim - 1)
        self.ideal = nn.Parameter(sphere.random(num_features, manifold.dim, dtype=dtype, device=device))
        register_manifold(self, "ideal", sphere)

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """Return the features ``[*b, num_features]`` of points."""
        return self._features(self._spatial(x))

    @full_precision
    def _features(self, s: Tensor) -> Tensor:
        return busemann(s, self.ideal, curvature(self.manifold))


class HyperbolicPrototypes(SpaceLayer):
    r"""Logits ``-B_k(x) - penalty/sqrt(c) log((1 + t)/2)`` of classes that are fixed points ``xi_k`` at infinity.

    ``nn.NLLLoss`` of them is the penalised Busemann loss. The penalty, ``-log(1 - c|x|^2)`` on the ball, keeps points
    from the boundary and is the same for all classes. Unit vectors such as ``simplex_codes`` are prototypes.

    Args:
        manifold: Where the points lie.
        prototypes: Directions ``[K, dim]`` of the ideal points, of any length but 0.
        penalty: At least 0; the paper takes multiples of the dimension.

    Raises:
        ShapeError: If the prototypes have another dimension.
        ValueError: If one has no direction, the penalty is negative, or the manifold has no constant curvature of at
            most 0.

    Source: Ghadimi Atigh, Keller-Ressel & Mettes 2021, Hyperbolic Busemann learning with ideal prototypes.
    """

    ideal: Tensor

    def __init__(self, manifold: Space, prototypes: Float[Tensor, "k n"], penalty: float = 0.0) -> None:
        super().__init__(manifold)
        if prototypes.shape[-1] != manifold.dim:
            raise ShapeError(
                f"HyperbolicPrototypes: expected prototypes [K, {manifold.dim}], got {list(prototypes.shape)}."
            )
        if not (prototypes.isfinite().all() and (prototypes != 0).any(-1).all()):
            raise ValueError("HyperbolicPrototypes: expected finite prototypes other than 0, which has no direction.")
        if not penalty >= 0:
            raise ValueError(f"HyperbolicPrototypes: expected penalty >= 0, but got {penalty}.")
        self.penalty = penalty
        self.register_buffer("ideal", prototypes.clone())

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the manifold's format for inputs of ``dtype``."""
        return self.manifold.compute_dtype(dtype)

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        """Return the logits ``[*b, K]`` of points."""
        return self._logits(self._spatial(x))

    @full_precision
    def _logits(self, s: Tensor) -> Tensor:
        c = curvature(self.manifold)
        logits = -busemann(s, self.ideal, c)
        return logits if is_flat(c) else logits - self.penalty / c**0.5 * ((1 + time_of(s, c)) / 2).log()

    def extra_repr(self) -> str:
        """Return the penalty."""
        return f"penalty={self.penalty}"
