"""A network of atoms whose messages are computed in the frames of edges."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers.equivariant import (
    BesselBasis,
    EdgeLayout,
    Gate,
    PolynomialCutoff,
    SO2Attention,
    SO2Conv,
    SO2Frame,
    SO2Message,
    SphericalLinear,
    SphericalRMSNorm,
)
from isometry.layers.equivariant.so2_conv import sum_at_targets
from isometry.manifolds._smooth import norm
from isometry.models._atomistic import AtomisticNetwork


class _FeedForward(nn.Module):
    """Two linear maps of the features of each atom with a gate between them."""

    def __init__(self, channels: int, hidden: int, lmax: int) -> None:
        super().__init__()
        self.lmax, self.hidden = lmax, hidden
        self.first = SphericalLinear(channels, hidden, lmax)
        self.gates = nn.Linear(channels, lmax * hidden)
        self.gate = Gate(lmax)
        self.second = SphericalLinear(hidden, channels, lmax)

    def forward(self, x: Float[Tensor, "n rows channels"]) -> Float[Tensor, "n rows channels"]:
        gates = self.gates(x[:, 0]).unflatten(1, (self.lmax, self.hidden))
        return self.second(self.gate(self.first(x), gates))


class _Block(nn.Module):
    """Messages from the neighbours, then a feed-forward map; each after a norm, and added to what comes in."""

    def __init__(self, edge_channels: int, channels: int, hidden: int, layout: EdgeLayout, conv: nn.Module) -> None:
        super().__init__()
        self.channels, self.conv = channels, conv
        self.radial = _perceptron(edge_channels, hidden, sum(layout.counts) * 2 * channels)
        self.norm_conv = SphericalRMSNorm(layout.lmax, channels)
        self.norm_forward = SphericalRMSNorm(layout.lmax, channels)
        self.feed_forward = _FeedForward(channels, hidden, layout.lmax)

    def forward(self, x: Tensor, edge_index: Tensor, frame: Tensor, edges: Tensor, envelope: Tensor) -> Tensor:
        scalars = self.radial(edges).unflatten(1, (-1, 2 * self.channels))
        x = x + self.conv(self.norm_conv(x), edge_index, frame, scalars, envelope)
        return x + self.feed_forward(self.norm_forward(x))


class ESCN(AtomisticNetwork):
    r"""Blocks of SO(2) messages and feed-forward maps, ``x <- x + conv(norm(x))``, ``x <- x + forward(norm(x))``.

    A message is ``linear(gate(linear(.)))`` of the features of both atoms, turned to the frame of their edge and scaled
    by functions of its length and of both species; it is turned back, and fades at the cutoff with two continuous
    derivatives. Features start as an embedding of the species and of the edges.

    Args:
        species: The atomic numbers that the network knows.
        cutoff: The largest distance at which atoms interact, in the unit of the positions.
        lmax: The highest degree of the features.
        mmax: The highest order about an edge that messages keep; ``lmax`` for all, fewer are cheaper.
        channels: Number of features per degree.
        hidden: Channels within messages and feed-forward maps; ``channels`` if None.
        layers: Number of blocks.
        radial: Number of radial functions.
        group: "SO(3)", as published; or "O(3)", for which features have natural parity and half of the weights of the
            messages are 0.
        heads: Heads of an attention (``SO2Attention``) in place of the plain sums; None for none.

    Source: Fu et al. 2025, Learning smooth and expressive interatomic potentials for physical property prediction
    (eSEN), with Bessel functions, and gates computed from the hidden rows m = 0; the attention is EquiformerV2's.
    """

    def __init__(
        self,
        species: Sequence[int],
        cutoff: float = 5.0,
        lmax: int = 2,
        mmax: int = 2,
        channels: int = 64,
        hidden: int | None = None,
        layers: int = 2,
        radial: int = 16,
        group: Literal["O(3)", "SO(3)"] = "SO(3)",
        heads: int | None = None,
    ) -> None:
        super().__init__(species, cutoff, lmax, channels)
        if group not in ("O(3)", "SO(3)"):
            raise ValueError(f"ESCN: expected the group 'O(3)' or 'SO(3)', but got {group!r}.")
        hidden, o3, layout = channels if hidden is None else hidden, group == "O(3)", EdgeLayout(lmax, mmax)
        self.frame = SO2Frame(lmax, mmax)
        self.basis = BesselBasis(cutoff, radial)
        self.envelope = PolynomialCutoff(cutoff)
        self.species_embedding = nn.Embedding(len(self.species), channels)
        self.ends_embedding = nn.Embedding(len(self.species), 2 * radial)  # as source, then as target
        self.edge_embedding = _perceptron(3 * radial, hidden, (lmax + 1) * channels)

        def conv() -> SO2Conv | SO2Attention:
            if heads is None:
                return SO2Conv(SO2Message(2 * channels, hidden, channels, lmax, mmax, o3), both_ends=True)
            return SO2Attention(channels, hidden, lmax, mmax, heads, o3)

        self.blocks = nn.ModuleList([_Block(3 * radial, channels, hidden, layout, conv()) for _ in range(layers)])
        self.norm = SphericalRMSNorm(lmax, channels)

    def encode(
        self,
        species: Int[Tensor, " n"],
        edge_index: Int[Tensor, "2 e"],
        vec: Float[Tensor, "e 3"],
        batch: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n rows channels"]:
        """Return the features of each atom."""
        r, frame = norm(vec), self.frame(vec)
        envelope = self.envelope(r)
        source, target = self.ends_embedding(species).chunk(2, 1)
        edges = torch.cat(
            [self.basis(r), source.index_select(0, edge_index[0]), target.index_select(0, edge_index[1])], 1
        )
        along = self.edge_embedding(edges).unflatten(1, (-1, self.channels)) * envelope[:, None, None]
        x = sum_at_targets(along, edge_index, frame[:, : along.shape[1]], species.shape[0])
        x = torch.cat([x[:, :1] + self.species_embedding(species).unsqueeze(1), x[:, 1:]], 1)
        for block in self.blocks:
            x = block(x, edge_index, frame, edges, envelope)
        return self.norm(x)


def _perceptron(size_in: int, hidden: int, size_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size_in, hidden), nn.SiLU(), nn.Linear(hidden, size_out))
