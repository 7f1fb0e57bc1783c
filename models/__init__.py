"""Networks, assembled from layers."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.models, not models: the bare name would load a second copy of every class")

from isometry.models.deep_sets import DeepSets
from isometry.models.escn import ESCN
from isometry.models.fe_gnn import FEGNN
from isometry.models.gaunt_net import GauntNet
from isometry.models.grnet import GrNet
from isometry.models.hgnn import HGNN
from isometry.models.matt import MAtt
from isometry.models.node_embedding import NodeEmbedding
from isometry.models.potential import Potential
from isometry.models.sie import SIE, SplitViews
from isometry.models.spd_conv_net import SPDConvNet
from isometry.models.spdnet import SPDNet
from isometry.models.tensor_property import TensorProperty
from isometry.models.tensornet import TensorNet

__all__ = [
    "ESCN",
    "FEGNN",
    "HGNN",
    "SIE",
    "DeepSets",
    "GauntNet",
    "GrNet",
    "MAtt",
    "NodeEmbedding",
    "Potential",
    "SPDConvNet",
    "SPDNet",
    "SplitViews",
    "TensorNet",
    "TensorProperty",
]
