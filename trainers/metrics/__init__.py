"""Metrics of embeddings, for torchmetrics and Lightning."""

from isometry.trainers.metrics.cmc import CMC
from isometry.trainers.metrics.distortion import Distortion
from isometry.trainers.metrics.reconstruction import Reconstruction

__all__ = ["CMC", "Distortion", "Reconstruction"]
