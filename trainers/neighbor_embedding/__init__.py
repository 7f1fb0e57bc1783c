"""Pictures of points of any manifold: neighbours stay neighbours, on a plane, a sphere or the hyperbolic plane."""

from isometry.trainers.neighbor_embedding.affinities import (
    conditional_affinities,
    heat_kernel_terms,
    joint_affinities,
)
from isometry.trainers.neighbor_embedding.co_sne import COSNE
from isometry.trainers.neighbor_embedding.large_vis import LargeVis
from isometry.trainers.neighbor_embedding.rie_sne import RieSNE

__all__ = ["COSNE", "LargeVis", "RieSNE", "conditional_affinities", "heat_kernel_terms", "joint_affinities"]
