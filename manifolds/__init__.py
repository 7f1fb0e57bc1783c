"""Riemannian manifolds: pure functions and thin classes with geoopt's interface."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.manifolds, not manifolds: the bare name would load a second copy of every class")

from isometry.manifolds.base import EmbeddedManifold, HeatKernelManifold, HomogeneousManifold, Manifold
from isometry.manifolds.checked import Checked
from isometry.manifolds.correlation_off_log import CorrelationOffLog
from isometry.manifolds.diagonal_gaussian import DiagonalGaussian
from isometry.manifolds.diagonal_gaussian_wasserstein import DiagonalGaussianWasserstein
from isometry.manifolds.differential import directional_derivatives, laplace_beltrami, laplacian, orthonormal_frame
from isometry.manifolds.errors import OffManifoldError, ShapeError
from isometry.manifolds.euclidean import Euclidean
from isometry.manifolds.frechet import frechet_mean
from isometry.manifolds.gaussian_kl import gaussian_kl, kl_to_inner_product_document, kl_to_inner_product_query
from isometry.manifolds.grassmann import Grassmann
from isometry.manifolds.hyperbolic_maps import (
    halfspace_to_poincare,
    lorentz_to_poincare,
    poincare_to_halfspace,
    poincare_to_lorentz,
)
from isometry.manifolds.lorentz import Lorentz
from isometry.manifolds.oblique import Oblique
from isometry.manifolds.parameters import named_manifolds, register_manifold
from isometry.manifolds.poincare_ball import PoincareBall
from isometry.manifolds.power_deformed import PowerDeformed
from isometry.manifolds.product import Product
from isometry.manifolds.real_view import RealView
from isometry.manifolds.scaled import Scaled
from isometry.manifolds.spd_affine_invariant import SPDAffineInvariant
from isometry.manifolds.spd_bures_wasserstein import SPDBuresWasserstein
from isometry.manifolds.spd_generalized_bures_wasserstein import SPDGeneralizedBuresWasserstein
from isometry.manifolds.spd_log_cholesky import SPDLogCholesky
from isometry.manifolds.spd_log_euclidean import SPDLogEuclidean
from isometry.manifolds.special_orthogonal import SpecialOrthogonal
from isometry.manifolds.special_unitary import SpecialUnitary
from isometry.manifolds.sphere import Sphere
from isometry.manifolds.stiefel_canonical import StiefelCanonical
from isometry.manifolds.stiefel_euclidean import StiefelEuclidean
from isometry.manifolds.stiefel_retractions import cayley_retraction, polar_retraction, qr_retraction
from isometry.manifolds.torus import Circle, Torus
from isometry.manifolds.wrapped_normal import WrappedNormal

__all__ = [
    "Checked",
    "Circle",
    "CorrelationOffLog",
    "DiagonalGaussian",
    "DiagonalGaussianWasserstein",
    "EmbeddedManifold",
    "Euclidean",
    "Grassmann",
    "HeatKernelManifold",
    "HomogeneousManifold",
    "Lorentz",
    "Manifold",
    "Oblique",
    "OffManifoldError",
    "PoincareBall",
    "PowerDeformed",
    "Product",
    "RealView",
    "SPDAffineInvariant",
    "SPDBuresWasserstein",
    "SPDGeneralizedBuresWasserstein",
    "SPDLogCholesky",
    "SPDLogEuclidean",
    "Scaled",
    "ShapeError",
    "SpecialOrthogonal",
    "SpecialUnitary",
    "Sphere",
    "StiefelCanonical",
    "StiefelEuclidean",
    "Torus",
    "WrappedNormal",
    "cayley_retraction",
    "directional_derivatives",
    "frechet_mean",
    "gaussian_kl",
    "halfspace_to_poincare",
    "kl_to_inner_product_document",
    "kl_to_inner_product_query",
    "laplace_beltrami",
    "laplacian",
    "lorentz_to_poincare",
    "named_manifolds",
    "orthonormal_frame",
    "poincare_to_halfspace",
    "poincare_to_lorentz",
    "polar_retraction",
    "qr_retraction",
    "register_manifold",
]
