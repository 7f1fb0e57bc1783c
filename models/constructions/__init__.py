"""Embeddings that are constructed and not optimised: trees and distance matrices in hyperbolic space."""

from isometry.models.constructions.h_mds import h_mds
from isometry.models.constructions.minimum_spanning_tree import minimum_spanning_tree
from isometry.models.constructions.sarkar import (
    SarkarEmbedding,
    coordinate_bits,
    representable_tau,
    sarkar_embedding,
    sarkar_tau,
)
from isometry.models.constructions.tree import Tree, spanning_tree
from isometry.models.constructions.ultrametric import single_linkage_ultrametric

__all__ = [
    "SarkarEmbedding",
    "Tree",
    "coordinate_bits",
    "h_mds",
    "minimum_spanning_tree",
    "representable_tau",
    "sarkar_embedding",
    "sarkar_tau",
    "single_linkage_ultrametric",
    "spanning_tree",
]
