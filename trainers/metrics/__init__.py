"""Metrics of embeddings and of numbers, for torchmetrics and Lightning."""

from isometry.trainers.metrics.cluster_accuracy import ClusterAccuracy
from isometry.trainers.metrics.cmc import CMC
from isometry.trainers.metrics.distortion import Distortion
from isometry.trainers.metrics.link_ranking import LinkRanking, filtered_ranks
from isometry.trainers.metrics.probes import ClassProbe, PairProbe
from isometry.trainers.metrics.reconstruction import Reconstruction
from isometry.trainers.metrics.residual import Residual

__all__ = [
    "CMC",
    "ClassProbe",
    "ClusterAccuracy",
    "Distortion",
    "LinkRanking",
    "PairProbe",
    "Reconstruction",
    "Residual",
    "filtered_ranks",
]
