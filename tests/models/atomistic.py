"""Small networks of atoms: one to train, and one whose energy is known."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isometry.models import Potential
from isometry.models._atomistic import AtomisticNetwork


class PairNetwork(AtomisticNetwork):
    """Scalars, vectors and degree 2 from pairs of atoms, with everything that a network of atoms has."""

    def __init__(self, species: Sequence[int] = (1, 6, 8), cutoff: float = 4.0, channels: int = 6) -> None:
        super().__init__(species, cutoff, 2, channels)
        self.embedding = nn.Embedding(len(species), channels)
        self.radial = nn.Sequential(nn.Linear(2 * channels + 5, 16), nn.SiLU(), nn.Linear(16, 3 * channels))

    def encode(self, species: Tensor, edge_index: Tensor, vec: Tensor, batch: Tensor | None = None) -> Tensor:
        h = self.embedding(species)
        r = vec.square().sum(1, keepdim=True).add(1e-12).sqrt()
        envelope = (1 - (r / self.cutoff).square()).clamp(min=0).pow(3)
        waves = torch.sin(r * torch.arange(1, 6, dtype=r.dtype) * torch.pi / self.cutoff)
        weights = self.radial(torch.cat([h[edge_index[0]], h[edge_index[1]], waves], 1)) * envelope
        x, y, w = (vec / r).T
        root = 3**0.5
        second = [root * x * w, root * x * y, y * y - (x * x + w * w) / 2, root * y * w, root / 2 * (w * w - x * x)]
        harmonics = torch.stack([torch.ones_like(x), x, y, w, *second], 1)
        messages = harmonics.unsqueeze(2) * weights.unflatten(1, (3, -1))[:, self.layout.degrees]
        return messages.new_zeros(h.shape[0], 9, self.channels).index_add(0, edge_index[1], messages)


class LennardJonesNetwork(AtomisticNetwork):
    """Features ``[N, 1, 1]`` that are the atoms' energies, as ase's ``LennardJones`` with ``smooth=True``."""

    def __init__(self, species: Sequence[int] = (18,), epsilon: float = 0.1, sigma: float = 1.5) -> None:
        super().__init__(species, 3 * sigma, 0, 1)
        self.onset = 2 * sigma
        self.epsilon = nn.Parameter(torch.tensor(epsilon))
        self.sigma = sigma

    def encode(self, species: Tensor, edge_index: Tensor, vec: Tensor, batch: Tensor | None = None) -> Tensor:
        d2 = vec.square().sum(1)
        c6 = (self.sigma**2 / d2).pow(3)
        end, onset = self.cutoff**2, self.onset**2
        smooth = (end - d2).square() * (end + 2 * d2 - 3 * onset) / (end - onset) ** 3
        smooth = torch.where(d2 > onset, smooth, torch.ones_like(d2))
        pair = 2 * self.epsilon * (c6 * c6 - c6) * smooth
        return pair.new_zeros(species.shape[0]).index_add(0, edge_index[1], pair).view(-1, 1, 1)


class FirstFeature(nn.Module):
    """A readout that gives the features of a network of known energy back."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0, :1]


def lennard_jones(**options: Any) -> Potential:
    """Return a potential of known energy, epsilon = 0.1 and sigma = 1.5, in float64."""
    potential = Potential(LennardJonesNetwork(), **options)
    potential.readout = FirstFeature()
    potential.network.epsilon.data = torch.tensor(0.1, dtype=torch.float64)
    return potential.double()
