"""Hierarchies and graphs, and the batches on which their embeddings are trained."""

from isometry.trainers.data.batches import EdgeBatches, NodeBatches
from isometry.trainers.data.edge_list import read_csv, read_edge_list, read_npz
from isometry.trainers.data.graph import Graph
from isometry.trainers.data.graph_data import GraphDataModule
from isometry.trainers.data.negative_sampling import NegativeSampler
from isometry.trainers.data.sources import read_graph
from isometry.trainers.data.wordnet import mammals_of, read_wordnet_nouns, wordnet_mammals

__all__ = [
    "EdgeBatches",
    "Graph",
    "GraphDataModule",
    "NegativeSampler",
    "NodeBatches",
    "mammals_of",
    "read_csv",
    "read_edge_list",
    "read_graph",
    "read_npz",
    "read_wordnet_nouns",
    "wordnet_mammals",
]
