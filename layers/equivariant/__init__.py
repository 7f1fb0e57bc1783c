"""Equivariant layers, on one layout of spherical features."""

from isometry.layers.equivariant.attention import SO2Attention
from isometry.layers.equivariant.cartesian import (
    TensorEmbedding,
    TensorInteraction,
    matrix_from_spherical,
    matrix_product,
    spherical_from_matrix,
)
from isometry.layers.equivariant.cutoff import CosineCutoff, PolynomialCutoff
from isometry.layers.equivariant.edge_frame import edge_frame
from isometry.layers.equivariant.gate import Gate
from isometry.layers.equivariant.gaunt import GauntPower, GauntProduct
from isometry.layers.equivariant.layout import EdgeLayout, SphericalLayout
from isometry.layers.equivariant.neighbors import edge_vectors, radius_graph
from isometry.layers.equivariant.norm_activation import NormActivation
from isometry.layers.equivariant.pointwise import EquivarianceError, check_pointwise
from isometry.layers.equivariant.radial import BesselBasis, ExpNormalBasis, GaussianBasis
from isometry.layers.equivariant.s2_activation import S2Activation
from isometry.layers.equivariant.so2_conv import SO2Conv
from isometry.layers.equivariant.so2_depthwise import SO2Depthwise
from isometry.layers.equivariant.so2_frame import SO2Frame
from isometry.layers.equivariant.so2_linear import SO2Linear
from isometry.layers.equivariant.so2_message import SO2Gate, SO2Message
from isometry.layers.equivariant.sphere_grid import SphereGrid, sphere_grid
from isometry.layers.equivariant.spherical_harmonics import spherical_harmonics
from isometry.layers.equivariant.spherical_linear import SphericalLinear
from isometry.layers.equivariant.spherical_norm import SphericalLayerNorm, SphericalRMSNorm
from isometry.layers.equivariant.swiglu import SwiGLUS2
from isometry.layers.equivariant.wigner import WignerD

__all__ = [
    "BesselBasis",
    "CosineCutoff",
    "EdgeLayout",
    "EquivarianceError",
    "ExpNormalBasis",
    "Gate",
    "GauntPower",
    "GauntProduct",
    "GaussianBasis",
    "NormActivation",
    "PolynomialCutoff",
    "S2Activation",
    "SO2Attention",
    "SO2Conv",
    "SO2Depthwise",
    "SO2Frame",
    "SO2Gate",
    "SO2Linear",
    "SO2Message",
    "SphereGrid",
    "SphericalLayerNorm",
    "SphericalLayout",
    "SphericalLinear",
    "SphericalRMSNorm",
    "SwiGLUS2",
    "TensorEmbedding",
    "TensorInteraction",
    "WignerD",
    "check_pointwise",
    "edge_frame",
    "edge_vectors",
    "matrix_from_spherical",
    "matrix_product",
    "radius_graph",
    "sphere_grid",
    "spherical_from_matrix",
    "spherical_harmonics",
]
