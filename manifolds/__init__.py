"""Riemannian manifolds: pure functions and thin classes with geoopt's interface."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.manifolds, not manifolds: the bare name would load a second copy of every class")

from isometry.manifolds.base import EmbeddedManifold, HeatKernelManifold, HomogeneousManifold, Manifold
from isometry.manifolds.checked import Checked
from isometry.manifolds.errors import OffManifoldError, ShapeError
from isometry.manifolds.euclidean import Euclidean
from isometry.manifolds.frechet import frechet_mean
from isometry.manifolds.hyperbolic_maps import (
    halfspace_to_poincare,
    lorentz_to_poincare,
    poincare_to_halfspace,
    poincare_to_lorentz,
)
from isometry.manifolds.lorentz import Lorentz
from isometry.manifolds.parameters import named_manifolds, register_manifold
from isometry.manifolds.poincare_ball import PoincareBall
from isometry.manifolds.product import Product
from isometry.manifolds.scaled import Scaled
from isometry.manifolds.sphere import Sphere
from isometry.manifolds.torus import Circle, Torus
from isometry.manifolds.wrapped_normal import WrappedNormal

__all__ = [
    "Checked",
    "Circle",
    "EmbeddedManifold",
    "Euclidean",
    "HeatKernelManifold",
    "HomogeneousManifold",
    "Lorentz",
    "Manifold",
    "OffManifoldError",
    "PoincareBall",
    "Product",
    "Scaled",
    "ShapeError",
    "Sphere",
    "Torus",
    "WrappedNormal",
    "frechet_mean",
    "halfspace_to_poincare",
    "lorentz_to_poincare",
    "named_manifolds",
    "poincare_to_halfspace",
    "poincare_to_lorentz",
    "register_manifold",
]
