"""Data to train on: hierarchies and graphs, and labelled samples to classify."""

from isometry.trainers.data.atoms import atoms_graph, read_frames
from isometry.trainers.data.atoms_data import AtomsDataModule
from isometry.trainers.data.batches import EdgeBatches, NodeBatches
from isometry.trainers.data.collocation import Collocation, RandomPoints
from isometry.trainers.data.cone_splits import ConeSplits
from isometry.trainers.data.cora import Cora, CoraHypergraph
from isometry.trainers.data.covariance import covariances
from isometry.trainers.data.digits import Digits
from isometry.trainers.data.distance_batches import DistanceBatches
from isometry.trainers.data.distance_matrix import DistanceMatrix
from isometry.trainers.data.edge_list import read_csv, read_edge_list, read_npz
from isometry.trainers.data.emg import EMG
from isometry.trainers.data.function_data import FunctionDataModule
from isometry.trainers.data.graph import Graph
from isometry.trainers.data.graph_data import DistanceDataModule, GraphDataModule
from isometry.trainers.data.grid_data import GridDataModule
from isometry.trainers.data.hdm05 import HDM05
from isometry.trainers.data.hgcn_graphs import AirportNodes, DiseaseNodes, hgcn_links
from isometry.trainers.data.images import SkimageImage, SkvideoClip, read_video
from isometry.trainers.data.knowledge_graph import KnowledgeGraph
from isometry.trainers.data.link_data import LinkDataModule
from isometry.trainers.data.mamem import MAMEM
from isometry.trainers.data.mnist import MNIST10k
from isometry.trainers.data.negative_sampling import NegativeSampler
from isometry.trainers.data.node_data import NodeDataModule
from isometry.trainers.data.pde import Burgers, Darcy
from isometry.trainers.data.rotated_clouds import RotatedClouds
from isometry.trainers.data.sample_batches import OrderedSamples, ShuffledSamples
from isometry.trainers.data.sources import balanced_tree, read_graph
from isometry.trainers.data.tensor_data import TensorDataModule
from isometry.trainers.data.tensor_entries import BeijingPM25, TensorEntries, TensorFolds, USTemperature
from isometry.trainers.data.texas import Texas
from isometry.trainers.data.time_series import TimeSeries, read_ts
from isometry.trainers.data.wordnet import mammals_of, read_wordnet_nouns, wordnet_mammals

__all__ = [
    "EMG",
    "HDM05",
    "MAMEM",
    "AirportNodes",
    "AtomsDataModule",
    "BeijingPM25",
    "Burgers",
    "Collocation",
    "ConeSplits",
    "Cora",
    "CoraHypergraph",
    "Darcy",
    "Digits",
    "DiseaseNodes",
    "DistanceBatches",
    "DistanceDataModule",
    "DistanceMatrix",
    "EdgeBatches",
    "FunctionDataModule",
    "Graph",
    "GraphDataModule",
    "GridDataModule",
    "KnowledgeGraph",
    "LinkDataModule",
    "MNIST10k",
    "NegativeSampler",
    "NodeBatches",
    "NodeDataModule",
    "OrderedSamples",
    "RandomPoints",
    "RotatedClouds",
    "ShuffledSamples",
    "SkimageImage",
    "SkvideoClip",
    "TensorDataModule",
    "TensorEntries",
    "TensorFolds",
    "Texas",
    "TimeSeries",
    "USTemperature",
    "atoms_graph",
    "balanced_tree",
    "covariances",
    "hgcn_links",
    "mammals_of",
    "read_csv",
    "read_edge_list",
    "read_frames",
    "read_graph",
    "read_npz",
    "read_ts",
    "read_video",
    "read_wordnet_nouns",
    "wordnet_mammals",
]
