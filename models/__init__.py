"""Networks, assembled from layers."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.models, not models: the bare name would load a second copy of every class")

from isometry.models.deep_sets import DeepSets
from isometry.models.escn import ESCN
from isometry.models.fe_gnn import FEGNN
from isometry.models.fno import FNO
from isometry.models.functional_tensor import FunctionalCP, FunctionalTensor, FunctionalTT, FunctionalTucker
from isometry.models.gaunt_net import GauntNet
from isometry.models.grnet import GrNet
from isometry.models.hgcn import HGCN
from isometry.models.hgnn import HGNN
from isometry.models.hyp_cd import HypCD
from isometry.models.hyperbolic_vae import HyperbolicVAE
from isometry.models.kg_embedding import KGEmbedding
from isometry.models.matt import MAtt
from isometry.models.mixed_curvature import MixedCurvatureEmbedding, ProductHGCN
from isometry.models.mps_classifier import MPSClassifier, linear_features, trigonometric_features
from isometry.models.multigrid import MultigridPatching
from isometry.models.network_search import SearchStep, TensorNetwork, search_network
from isometry.models.node_embedding import NodeEmbedding
from isometry.models.potential import Potential
from isometry.models.seg_hgnn import SegHGNN
from isometry.models.sie import SIE, SplitViews
from isometry.models.siren import SIREN
from isometry.models.spd_conv_net import SPDConvNet
from isometry.models.spdnet import SPDNet
from isometry.models.stacked_tensorial import StackedTensorialNetwork, TensorialNetwork
from isometry.models.tensor_completion import TensorCompletion, observed_entries
from isometry.models.tensor_property import TensorProperty
from isometry.models.tensornet import TensorNet
from isometry.models.two_site_sweep import two_site_sweep

__all__ = [
    "ESCN",
    "FEGNN",
    "FNO",
    "HGCN",
    "HGNN",
    "SIE",
    "SIREN",
    "DeepSets",
    "FunctionalCP",
    "FunctionalTT",
    "FunctionalTensor",
    "FunctionalTucker",
    "GauntNet",
    "GrNet",
    "HypCD",
    "HyperbolicVAE",
    "KGEmbedding",
    "MAtt",
    "MPSClassifier",
    "MixedCurvatureEmbedding",
    "MultigridPatching",
    "NodeEmbedding",
    "Potential",
    "ProductHGCN",
    "SPDConvNet",
    "SPDNet",
    "SearchStep",
    "SegHGNN",
    "SplitViews",
    "StackedTensorialNetwork",
    "TensorCompletion",
    "TensorNet",
    "TensorNetwork",
    "TensorProperty",
    "TensorialNetwork",
    "linear_features",
    "observed_entries",
    "search_network",
    "trigonometric_features",
    "two_site_sweep",
]
