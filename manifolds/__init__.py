"""Riemannian manifolds: pure functions and thin classes with geoopt's interface."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.manifolds, not manifolds: the bare name would load a second copy of every class")

from isometry.manifolds.base import EmbeddedManifold, HeatKernelManifold, HomogeneousManifold, Manifold
from isometry.manifolds.errors import OffManifoldError, ShapeError
from isometry.manifolds.frechet import frechet_mean
from isometry.manifolds.lorentz import Lorentz
from isometry.manifolds.parameters import named_manifolds, register_manifold
from isometry.manifolds.poincare_ball import PoincareBall
from isometry.manifolds.sphere import Sphere

__all__ = [
    "EmbeddedManifold",
    "HeatKernelManifold",
    "HomogeneousManifold",
    "Lorentz",
    "Manifold",
    "OffManifoldError",
    "PoincareBall",
    "ShapeError",
    "Sphere",
    "frechet_mean",
    "named_manifolds",
    "register_manifold",
]
