"""How models learn: optimizers, losses, metrics, data, callbacks, and one Lightning module per task."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.trainers, not trainers: the bare name would load a second copy of every class")

from isometry.trainers.classification import Classification
from isometry.trainers.completion import Completion
from isometry.trainers.force_field import ForceField
from isometry.trainers.function_fitting import FunctionFitting
from isometry.trainers.graph_embedding import GraphEmbedding
from isometry.trainers.kg_completion import KGCompletion
from isometry.trainers.link_prediction import LinkPrediction
from isometry.trainers.operator_learning import OperatorLearning
from isometry.trainers.physics_informed import PhysicsInformed
from isometry.trainers.property_regression import PropertyRegression
from isometry.trainers.row_sharded_strategy import RowShardedStrategy
from isometry.trainers.sie import SIEPretraining

__all__ = [
    "Classification",
    "Completion",
    "ForceField",
    "FunctionFitting",
    "GraphEmbedding",
    "KGCompletion",
    "LinkPrediction",
    "OperatorLearning",
    "PhysicsInformed",
    "PropertyRegression",
    "RowShardedStrategy",
    "SIEPretraining",
]
