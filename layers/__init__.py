"""Geometric layers: nn.Modules that take the manifold as an argument."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.layers, not layers: the bare name would load a second copy of every class")

from isometry.layers.attention import Attention
from isometry.layers.batch_norm import BatchNorm
from isometry.layers.bi_map import BiMap
from isometry.layers.class_codebook import ClassCodebook, eigen_codes, simplex_codes
from isometry.layers.classifier import Classifier
from isometry.layers.cosine_classifier import CosineClassifier
from isometry.layers.covariance_pooling import CovariancePooling
from isometry.layers.dropout import Dropout
from isometry.layers.embedding import Embedding
from isometry.layers.feature_expansion import FeatureExpansion
from isometry.layers.fermi_dirac import FermiDirac
from isometry.layers.fr_map import FRMap
from isometry.layers.gaussian_head import GaussianHead
from isometry.layers.group_action import LinearAction, RotationAction
from isometry.layers.hypergraph_conv import HypergraphConv, knn_hypergraph
from isometry.layers.log_eig import LogEig
from isometry.layers.margin_classifier import MarginClassifier
from isometry.layers.orth_map import OrthMap
from isometry.layers.orthogonal_adapter import OrthogonalAdapter
from isometry.layers.power_aggregation import LEAggregation, LPAggregation
from isometry.layers.proj_map import ProjMap
from isometry.layers.projection_pooling import ProjectionPooling
from isometry.layers.re_eig import ReEig
from isometry.layers.re_orth import ReOrth
from isometry.layers.relative_representation import RelativeCosines, RelativeDistances, RelativeProduct
from isometry.layers.sharded_embedding import ShardedEmbedding
from isometry.layers.subspace_classifier import SubspaceClassifier
from isometry.layers.topological_attention import TopologicalAttention
from isometry.layers.tree_field import TreeFieldIntegrator
from isometry.layers.tree_kernel import CosineKernel, ExponentialKernel, PolynomialKernel
from isometry.layers.vectorize import Vectorize

__all__ = [
    "Attention",
    "BatchNorm",
    "BiMap",
    "ClassCodebook",
    "Classifier",
    "CosineClassifier",
    "CosineKernel",
    "CovariancePooling",
    "Dropout",
    "Embedding",
    "ExponentialKernel",
    "FRMap",
    "FeatureExpansion",
    "FermiDirac",
    "GaussianHead",
    "HypergraphConv",
    "LEAggregation",
    "LPAggregation",
    "LinearAction",
    "LogEig",
    "MarginClassifier",
    "OrthMap",
    "OrthogonalAdapter",
    "PolynomialKernel",
    "ProjMap",
    "ProjectionPooling",
    "ReEig",
    "ReOrth",
    "RelativeCosines",
    "RelativeDistances",
    "RelativeProduct",
    "RotationAction",
    "ShardedEmbedding",
    "SubspaceClassifier",
    "TopologicalAttention",
    "TreeFieldIntegrator",
    "Vectorize",
    "eigen_codes",
    "knn_hypergraph",
    "simplex_codes",
]
