"""A network of atoms whose features are matrices."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers.equivariant import CosineCutoff, ExpNormalBasis, TensorEmbedding, TensorInteraction
from isometry.layers.equivariant.cartesian import Group
from isometry.manifolds._smooth import norm
from isometry.models._atomistic import AtomisticNetwork


class TensorNet(AtomisticNetwork):
    r"""Matrices ``X_i`` of each atom: embedded from its neighbours, then multiplied with their sums, ``Y M + M Y``.

    Features are the orthonormal decompositions of 3 x 3 matrices (``matrix_from_spherical``): traces, antisymmetric
    parts and symmetric parts are the degrees 0, 1 and 2. The envelope is the paper's cosine, so that first derivatives
    are continuous.

    Args:
        species: The atomic numbers that the network knows.
        cutoff: The largest distance at which atoms interact, in angstrom (see ``ExpNormalBasis``).
        channels: Number of matrices per atom.
        layers: Number of interactions, 0 or more.
        radial: Number of radial functions.
        group: "O(3)"; or "SO(3)", which tells mirror images apart.

    Source: Simeon & De Fabritiis 2023, TensorNet: Cartesian tensor representations for efficient learning of molecular
    potentials.
    """

    paired = True

    def __init__(
        self,
        species: Sequence[int],
        cutoff: float = 4.5,
        channels: int = 64,
        layers: int = 2,
        radial: int = 32,
        group: Group = "O(3)",
    ) -> None:
        super().__init__(species, cutoff, 2, channels)
        self.basis = ExpNormalBasis(cutoff, radial)
        self.envelope = CosineCutoff(cutoff)
        self.embedding = TensorEmbedding(len(self.species), channels, radial)
        self.interactions = nn.ModuleList([TensorInteraction(channels, radial, group) for _ in range(layers)])

    def encode(
        self,
        species: Int[Tensor, " n"],
        edge_index: Int[Tensor, "2 e"],
        vec: Float[Tensor, "e 3"],
        batch: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n 9 channels"]:
        """Return the features of each atom; the second half of the edges must be the first half reversed."""
        pairs, back = edge_index.chunk(2, 1)
        torch._assert_async(
            (pairs == back.flip(0)).all(), "the second half of the edges must be the first one reversed"
        )
        vec = vec[: pairs.shape[1]]
        r = norm(vec)
        direction = vec / torch.where(r > 0, r, 1).unsqueeze(1)
        r = torch.cat([r, r.new_zeros(1)])
        envelope = self.envelope(r)
        radial = self.basis(r) * envelope.unsqueeze(1)
        x = self.embedding(species, pairs, direction, radial, envelope)
        for interaction in self.interactions:
            x = interaction(x, pairs, radial, envelope)
        return x
