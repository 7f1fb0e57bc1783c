"""Losses on distances."""

from isometry.trainers.losses.distortion import DistortionLoss
from isometry.trainers.losses.link import LinkLoss
from isometry.trainers.losses.ranking import RankingLoss

__all__ = ["DistortionLoss", "LinkLoss", "RankingLoss"]
