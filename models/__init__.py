"""Networks, assembled from layers."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.models, not models: the bare name would load a second copy of every class")

from isometry.models.grnet import GrNet
from isometry.models.matt import MAtt
from isometry.models.node_embedding import NodeEmbedding
from isometry.models.spd_conv_net import SPDConvNet
from isometry.models.spdnet import SPDNet

__all__ = ["GrNet", "MAtt", "NodeEmbedding", "SPDConvNet", "SPDNet"]
