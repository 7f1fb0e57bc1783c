"""A network of atoms that multiplies functions on the sphere."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from isometry.layers.equivariant import (
    BesselBasis,
    Gate,
    GauntPower,
    PolynomialCutoff,
    SphereGrid,
    SphericalLayout,
    SphericalLinear,
    SphericalRMSNorm,
    spherical_harmonics,
)
from isometry.layers.equivariant._constants import Constants
from isometry.layers.equivariant._gaunt_backends import bracket
from isometry.models._atomistic import AtomisticNetwork


class GauntNet(AtomisticNetwork):
    r"""Messages and many-body terms as Gaunt products, pointwise products of functions on the sphere.

    Each layer sums the products of the neighbours' features with a radial filter of the edge's spherical harmonics,
    ``A_i = sum_j x_j * (R_l(r_ij) Y_l(r_ij))``, mixes its powers ``A, A^2, ..., A^order`` (correlations of up to
    ``order`` neighbours), gates them and adds the result to the features. A product of degree L costs ``O(L^4)`` on the
    grid, where one of Clebsch-Gordan coefficients costs ``O(L^6)``.

    Products of functions leave out the triples of degrees with an odd sum, and with them the cross product. They are
    axial, so features of natural parity cannot hold them under reflections. Under rotations alone they can, and the
    group ``"SO(3)"`` adds them to the messages as Poisson brackets: then mirror images are told apart at any degree.

    Args:
        species: The atomic numbers that the network knows, each once.
        cutoff: The largest distance at which atoms interact, in the unit of the positions.
        lmax: The highest degree of features and filters.
        channels: Number of features per degree.
        layers: Number of layers; each one sees one cutoff further.
        order: The highest power, 2 or more.
        radial: Number of Bessel functions of the distance.
        neighbors: The typical number of neighbours, by whose root sums over them are divided.
        group: ``"O(3)"``, or ``"SO(3)"`` to tell mirror images apart.

    Source: Luo, Chen & Krishnapriyan 2024, Enabling efficient equivariant operations in the Fourier basis via Gaunt
    tensor products, section 3; the architecture follows Batatia et al. 2022, MACE.
    """

    def __init__(
        self,
        species: Sequence[int],
        cutoff: float = 5.0,
        lmax: int = 2,
        channels: int = 64,
        *,
        layers: int = 2,
        order: int = 3,
        radial: int = 8,
        neighbors: float = 16.0,
        group: str = "O(3)",
    ) -> None:
        super().__init__(species, cutoff, lmax, channels)
        if group not in ("O(3)", "SO(3)"):
            raise ValueError(f"GauntNet: expected group 'O(3)' or 'SO(3)', but got {group!r}.")
        if layers < 1 or not neighbors > 0:
            raise ValueError(
                f"GauntNet: expected layers >= 1 and positive neighbors, but got layers={layers} and {neighbors}."
            )
        self.embedding = nn.Embedding(len(self.species), channels)
        self.basis, self.envelope = BesselBasis(cutoff, radial), PolynomialCutoff(cutoff)
        self.layers = nn.ModuleList(
            _Layer(lmax, channels, order, radial, neighbors, group == "SO(3)") for _ in range(layers)
        )

    def encode(
        self,
        species: Int[Tensor, " n"],
        edge_index: Int[Tensor, "2 e"],
        vec: Float[Tensor, "e 3"],
        batch: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n rows channels"]:
        """Return the features of each atom from edge vectors."""
        square = vec.square().sum(-1)
        r = torch.where(square > 0, torch.where(square > 0, square, 1).sqrt(), 0)  # a derivative of 0 at distance 0
        basis, envelope = self.basis(r), self.envelope(r)
        harmonics = spherical_harmonics(vec, self.layout.lmax)
        scalars = self.embedding(species).unsqueeze(-2)
        x = torch.cat([scalars, scalars.new_zeros(species.shape[0], self.layout.size - 1, self.channels)], -2)
        for layer in self.layers:
            x = layer(x, edge_index, harmonics, basis, envelope)
        return x


class GauntConv(Constants):
    r"""Sum Gaunt products of the neighbours' features with filters, ``y_i = sum_j x_j * (w_l(ij) Y_l(ij))``.

    The values on the grid of the features are computed once for each node, those of ``Y_l`` once for each edge and
    degree, and the sum over neighbours is taken on the grid, so that of the three transforms of a product only one of
    ``lmax + 1`` columns remains on the edges.
    """

    def __init__(self, lmax: int, brackets: bool) -> None:
        super().__init__()
        self._grid, self._brackets = SphereGrid(lmax, lmax, 3 * lmax), brackets
        degrees = SphericalLayout(lmax).degrees
        self.register_constant("_columns", (degrees[:, None] == torch.arange(lmax + 1)).double())
        self._columns: Tensor

    def forward(self, x: Tensor, edge_index: Tensor, harmonics: Tensor, weights: Tensor) -> Tensor:
        """Return the sums, ``[n, size, channels]``, and those of brackets beside them.

        Args:
            x: Features ``[n, size, channels]``.
            edge_index: Sources and targets ``[2, e]``.
            harmonics: Of the edges, ``[e, size]``.
            weights: Of each degree ``[e, lmax + 1, channels]``.
        """
        j, i = edge_index
        columns = harmonics.unsqueeze(-1) * self._columns
        products = self._grid.values(x).index_select(0, j) * (self._grid.values(columns) @ weights)
        if self._brackets:
            f1, f2 = (slope.index_select(0, j) for slope in self._grid.slopes(x))
            g1, g2 = (slope @ weights for slope in self._grid.slopes(columns))
            products = torch.cat([products, bracket((f1, f2), (g1, g2))], -1)
        return self._grid.coefficients(products.new_zeros(x.shape[0], *products.shape[1:]).index_add(0, i, products))


class _Layer(nn.Module):
    """Messages, their powers and a gate, added to the features."""

    def __init__(self, lmax: int, channels: int, order: int, radial: int, neighbors: float, brackets: bool) -> None:
        super().__init__()
        self.lmax, self.channels = lmax, channels
        self.norm = SphericalRMSNorm(lmax, channels)
        self.source = SphericalLinear(channels, channels, lmax)
        hidden, out = nn.Linear(radial, channels), nn.Linear(channels, (lmax + 1) * channels)
        for linear in (hidden, out):  # messages of size 1, as Bessel functions and SiLU are small
            nn.init.normal_(linear.weight, std=2 * linear.in_features**-0.5)
        self.filter = nn.Sequential(hidden, nn.SiLU(), out)
        self.conv = GauntConv(lmax, brackets)
        self.message = SphericalLinear((2 if brackets else 1) * channels, channels, lmax, bias=False)
        self.powers = GauntPower(lmax, lmax, order)
        self.bodies = SphericalLinear(order * channels, channels, lmax)
        self.gates = nn.Linear(channels, lmax * channels)
        self.gate = Gate(lmax)
        self.update = SphericalLinear(channels, channels, lmax)
        self._sum_scale = neighbors**-0.5
        self._power_scale = 1 / (lmax + 1)  # of coefficients of variance 1, a function has variance (lmax + 1)^2

    def forward(
        self, x: Tensor, edge_index: Tensor, harmonics: Tensor, basis: Tensor, envelope: Tensor
    ) -> Float[Tensor, "n rows channels"]:
        """Return the new features."""
        weights = self.filter(basis).unflatten(-1, (self.lmax + 1, self.channels)) * envelope[:, None, None]
        total = self.conv(self.source(self.norm(x)), edge_index, harmonics, weights)
        message = self.message(total * self._sum_scale)
        bodies = self.bodies(torch.cat([message, self.powers(message * self._power_scale)], -1))
        gates = self.gates(bodies[..., 0, :]).unflatten(-1, (self.lmax, self.channels))
        return x + self.update(self.gate(bodies, gates))
