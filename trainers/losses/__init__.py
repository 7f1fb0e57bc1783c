"""Losses on distances."""

from isometry.trainers.losses.distortion import DistortionLoss
from isometry.trainers.losses.info_nce import InfoNCE
from isometry.trainers.losses.lambda_orthogonality import LambdaOrthogonality
from isometry.trainers.losses.link import LinkLoss
from isometry.trainers.losses.ranking import RankingLoss
from isometry.trainers.losses.sie import SIELoss
from isometry.trainers.losses.von_neumann_entropy import VonNeumannEntropyLoss, von_neumann_entropy

__all__ = [
    "DistortionLoss",
    "InfoNCE",
    "LambdaOrthogonality",
    "LinkLoss",
    "RankingLoss",
    "SIELoss",
    "VonNeumannEntropyLoss",
    "von_neumann_entropy",
]
