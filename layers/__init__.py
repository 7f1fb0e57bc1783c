"""Geometric layers: nn.Modules that take the manifold as an argument."""

if not __name__.startswith("isometry."):
    raise ImportError("import isometry.layers, not layers: the bare name would load a second copy of every class")

from isometry.layers.embedding import Embedding
from isometry.layers.fermi_dirac import FermiDirac

__all__ = ["Embedding", "FermiDirac"]
