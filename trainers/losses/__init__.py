"""Losses on distances."""

from isometry.trainers.losses.distortion import DistortionLoss
from isometry.trainers.losses.entailment import EntailmentLoss
from isometry.trainers.losses.hyp_cd import HypCDLoss, contrastive_loss
from isometry.trainers.losses.info_nce import InfoNCE
from isometry.trainers.losses.lambda_orthogonality import LambdaOrthogonality
from isometry.trainers.losses.link import LinkLoss
from isometry.trainers.losses.normalized_cut import NormalizedCutLoss, normalized_cut
from isometry.trainers.losses.operator import RelativeError, relative_errors
from isometry.trainers.losses.ranking import RankingLoss
from isometry.trainers.losses.sie import SIELoss, covariance_penalty, variance_penalty
from isometry.trainers.losses.t_regs import TREGSLoss, simplex_length, spanning_tree_length
from isometry.trainers.losses.von_neumann_entropy import VonNeumannEntropyLoss, von_neumann_entropy

__all__ = [
    "DistortionLoss",
    "EntailmentLoss",
    "HypCDLoss",
    "InfoNCE",
    "LambdaOrthogonality",
    "LinkLoss",
    "NormalizedCutLoss",
    "RankingLoss",
    "RelativeError",
    "SIELoss",
    "TREGSLoss",
    "VonNeumannEntropyLoss",
    "contrastive_loss",
    "covariance_penalty",
    "normalized_cut",
    "relative_errors",
    "simplex_length",
    "spanning_tree_length",
    "variance_penalty",
    "von_neumann_entropy",
]
