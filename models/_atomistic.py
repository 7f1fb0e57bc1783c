"""What the networks of atoms share: how they are called."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch_geometric.data import Data

from isometry.layers.equivariant import SphericalLayout, edge_vectors, radius_graph
from isometry.layers.equivariant.neighbors import pair_order
from isometry.manifolds._precision import captured


class AtomisticNetwork(nn.Module, ABC):
    r"""A map from atoms to equivariant features, ``x_i = f({(z_j, pos_j - pos_i) : |pos_j - pos_i| < cutoff})``.

    Subclasses implement ``encode``. Parity of the features is natural, ``p = (-1)^l``, unless the subclass says more.

    Args:
        species: The atomic numbers that the network knows, each once.
        cutoff: The largest distance at which atoms interact, in the unit of the positions.
        lmax: The highest degree of the features.
        channels: Number of features per degree.

    Raises:
        ValueError: If there is no species, one is not positive or comes twice, or the cutoff is not positive.
    """

    paired: ClassVar[bool] = False
    """Whether ``encode`` wants edges whose second half is the first half reversed, as ``radius_graph`` gives them."""
    species_table: Tensor

    def __init__(self, species: Sequence[int], cutoff: float, lmax: int, channels: int) -> None:
        super().__init__()
        self.species = tuple(int(z) for z in species)
        if not self.species or min(self.species) < 1 or len(set(self.species)) < len(self.species):
            raise ValueError(
                f"{type(self).__name__}: expected different atomic numbers of 1 or more, but got {species}."
            )
        if not 0 < cutoff < float("inf"):
            raise ValueError(f"{type(self).__name__}: expected a positive, finite cutoff, but got {cutoff}.")
        self.cutoff, self.channels, self.layout = float(cutoff), channels, SphericalLayout(lmax)
        # One more entry than the largest number: what is unknown is clamped to an entry of -1.
        table = torch.full((max(self.species) + 2,), -1)
        table[list(self.species)] = torch.arange(len(self.species))
        self.register_buffer("species_table", table)

    @property
    def dtype(self) -> torch.dtype:
        """The format of the parameters, and of the features."""
        return next(self.parameters()).dtype

    def index_of(self, z: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the place of each atomic number in ``species``.

        Raises:
            ValueError: If a number is unknown; not looked at where a graph is captured, whose embedding then fails.
        """
        index = self.species_table[z.long().clamp(0, len(self.species_table) - 1)]
        if not captured() and (index < 0).any():
            unknown = z[index < 0].unique().tolist()
            raise ValueError(
                f"{type(self).__name__}: expected the atomic numbers {list(self.species)}, but got {unknown} too; "
                "build the network with all `species` of the data."
            )
        return index

    def forward(
        self,
        z: Int[Tensor, " n"] | Data,
        pos: Float[Tensor, "n 3"] | None = None,
        batch: Int[Tensor, " n"] | None = None,
        cell: Float[Tensor, "*b 3 3"] | None = None,
        pbc: Bool[Tensor, "*p 3"] | None = None,
        edge_index: Int[Tensor, "2 e"] | None = None,
        shift: Float[Tensor, "e 3"] | Int[Tensor, "e 3"] | None = None,
    ) -> Float[Tensor, "n rows channels"]:
        """Return the features of each atom.

        Edge vectors are computed in the format of the positions and then rounded to that of the parameters.

        Args:
            z: Atomic numbers; or a PyG ``Data`` or ``Batch`` with all of these arguments as attributes (``z`` and
                ``pos`` at least).
            pos: Positions.
            batch: The structure of each atom. None for a single structure.
            cell: Lattice vectors as rows: one cell for all structures, or one each. None for no periodicity.
            pbc: Which lattice vectors are periodic; None: all of them if there is a cell.
            edge_index: Sources and targets, with all pairs within the cutoff. None to find them by ``radius_graph``.
            shift: Counts of lattice vectors from target to source. None for zeros.

        Raises:
            ValueError: If positions are missing, an atomic number is unknown, or as ``radius_graph`` says.
        """
        if isinstance(z, Data):
            return self.forward(**arguments_of(z))
        if pos is None:
            raise ValueError(
                f"{type(self).__name__}: expected positions `pos` beside the atomic numbers, but got None."
            )
        if edge_index is None:
            edge_index, shift = radius_graph(pos, self.cutoff, batch, cell, pbc)
        elif self.paired and not captured():
            order = pair_order(edge_index, shift)
            edge_index, shift = edge_index[:, order], None if shift is None else shift[order]
        vec = edge_vectors(pos, edge_index, shift, cell, batch)
        return self.encode(self.index_of(z), edge_index, vec.to(self.dtype), batch)

    @abstractmethod
    def encode(
        self,
        species: Int[Tensor, " n"],
        edge_index: Int[Tensor, "2 e"],
        vec: Float[Tensor, "e 3"],
        batch: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n rows channels"]:
        """Return the features of each atom from edge vectors: one graph, without a look at values.

        Args:
            species: Indices into ``self.species``.
            edge_index: Sources ``j`` and targets ``i``, without self loops at distance 0.
            vec: ``pos_j - pos_i``, images included. Edges of the cutoff or longer must not count.
            batch: The structure of each atom.
        """


def arguments_of(data: Data) -> dict[str, Tensor | None]:
    """Return the arguments of a network's ``forward`` from the attributes of a PyG ``Data`` or ``Batch``.

    A batch may hold cells of shape [3, 3] or [1, 3, 3] per structure, which PyG concatenates, and ``pbc`` likewise.

    Raises:
        ValueError: If there are no atomic numbers ``z``.
    """
    names = ("z", "pos", "batch", "cell", "pbc", "edge_index", "shift")
    found: dict[str, Tensor | None] = {name: getattr(data, name, None) for name in names}
    if found["z"] is None:
        raise ValueError(f"expected data with the atomic numbers as `z`, but got only {sorted(data.keys())}.")
    for name, size in (("cell", (3, 3)), ("pbc", (3,))):
        value = found[name]
        found[name] = None if value is None else value.reshape(-1, *size)
    return found
