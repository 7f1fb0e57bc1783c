"""How models learn: optimizers, losses, metrics, data, callbacks, and one Lightning module per task."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.trainers, not trainers: the bare name would load a second copy of every class")

from isometry.trainers.classification import Classification
from isometry.trainers.graph_embedding import GraphEmbedding

__all__ = ["Classification", "GraphEmbedding"]
