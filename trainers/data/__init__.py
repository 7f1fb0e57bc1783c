"""Hierarchies and graphs, and the batches on which their embeddings are trained."""

from isometry.trainers.data.batches import EdgeBatches, NodeBatches
from isometry.trainers.data.distance_batches import DistanceBatches
from isometry.trainers.data.edge_list import read_csv, read_edge_list, read_npz
from isometry.trainers.data.graph import Graph
from isometry.trainers.data.graph_data import DistanceDataModule, GraphDataModule
from isometry.trainers.data.negative_sampling import NegativeSampler
from isometry.trainers.data.sources import balanced_tree, read_graph
from isometry.trainers.data.wordnet import mammals_of, read_wordnet_nouns, wordnet_mammals

__all__ = [
    "DistanceBatches",
    "DistanceDataModule",
    "EdgeBatches",
    "Graph",
    "GraphDataModule",
    "NegativeSampler",
    "NodeBatches",
    "balanced_tree",
    "mammals_of",
    "read_csv",
    "read_edge_list",
    "read_graph",
    "read_npz",
    "read_wordnet_nouns",
    "wordnet_mammals",
]
