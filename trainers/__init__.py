"""How models learn: optimizers, losses, metrics, data, callbacks, and one Lightning module per task."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.trainers, not trainers: the bare name would load a second copy of every class")

from isometry.trainers.classification import Classification
from isometry.trainers.force_field import ForceField
from isometry.trainers.graph_embedding import GraphEmbedding
from isometry.trainers.property_regression import PropertyRegression
from isometry.trainers.sie import SIEPretraining

__all__ = ["Classification", "ForceField", "GraphEmbedding", "PropertyRegression", "SIEPretraining"]
