"""Layers of hyperbolic space in both models, and of Euclidean space as the limit of curvature 0.

``Dropout``, ``BatchNorm`` and ``Embedding`` of ``isometry.layers`` serve these manifolds as any other.
"""

from isometry.layers.hyperbolic.activation import Activation
from isometry.layers.hyperbolic.attention import MultiheadAttention
from isometry.layers.hyperbolic.bridge import FeatureClipping, FromHyperbolic, ToHyperbolic
from isometry.layers.hyperbolic.busemann import Busemann, HyperbolicPrototypes
from isometry.layers.hyperbolic.classifier import Classifier
from isometry.layers.hyperbolic.concatenation import Concatenation, Split
from isometry.layers.hyperbolic.conv import Conv1d, Conv2d
from isometry.layers.hyperbolic.entailment_cone import EntailmentCone
from isometry.layers.hyperbolic.graph_conv import GraphConv
from isometry.layers.hyperbolic.layer_norm import LayerNorm
from isometry.layers.hyperbolic.linear import Linear, LorentzLinear, TangentLinear

__all__ = [
    "Activation",
    "Busemann",
    "Classifier",
    "Concatenation",
    "Conv1d",
    "Conv2d",
    "EntailmentCone",
    "FeatureClipping",
    "FromHyperbolic",
    "GraphConv",
    "HyperbolicPrototypes",
    "LayerNorm",
    "Linear",
    "LorentzLinear",
    "MultiheadAttention",
    "Split",
    "TangentLinear",
    "ToHyperbolic",
]
