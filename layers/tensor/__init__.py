"""Layers on tensors: weights in factors, whose gradients may be those of the manifolds of fixed rank."""

from isometry.layers.tensor.contraction import TensorContraction
from isometry.layers.tensor.conv import Conv1d, Conv2d, Conv3d
from isometry.layers.tensor.dropout import TensorDropout
from isometry.layers.tensor.embedding import Embedding
from isometry.layers.tensor.fusion import LowRankFusion
from isometry.layers.tensor.kronecker_attention import KroneckerAttention2d
from isometry.layers.tensor.linear import Linear
from isometry.layers.tensor.regression import TensorRegression
from isometry.layers.tensor.spectral_conv import SpectralConv
from isometry.layers.tensor.tensor_attention import (
    Monomials,
    TensorAttention,
    polynomial_tensor_attention,
    tensor_attention,
)
from isometry.layers.tensor.tensorize import tensorize

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Embedding",
    "KroneckerAttention2d",
    "Linear",
    "LowRankFusion",
    "Monomials",
    "SpectralConv",
    "TensorAttention",
    "TensorContraction",
    "TensorDropout",
    "TensorRegression",
    "polynomial_tensor_attention",
    "tensor_attention",
    "tensorize",
]
