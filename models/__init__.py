"""Networks, assembled from layers."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.models, not models: the bare name would load a second copy of every class")

from isometry.models.node_embedding import NodeEmbedding

__all__ = ["NodeEmbedding"]
