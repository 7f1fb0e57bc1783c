"""What the models of whole structures share: how they are called."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch_geometric.data import Data

from isometry.layers.equivariant import radius_graph
from isometry.layers.equivariant.neighbors import pair_order
from isometry.manifolds._precision import captured
from isometry.models._atomistic import AtomisticNetwork, arguments_of


class StructureModel(nn.Module, ABC):
    """A model of structures on top of a network of atoms, called as the network is; subclasses implement ``evaluate``.

    Args:
        network: Maps atoms to features.
    """

    def __init__(self, network: AtomisticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        z: Int[Tensor, " n"] | Data,
        pos: Float[Tensor, "n 3"] | None = None,
        batch: Int[Tensor, " n"] | None = None,
        cell: Float[Tensor, "*b 3 3"] | None = None,
        pbc: Bool[Tensor, "*b 3"] | None = None,
        edge_index: Int[Tensor, "2 e"] | None = None,
        shift: Float[Tensor, "e 3"] | Int[Tensor, "e 3"] | None = None,
    ) -> Any:
        """Return what the model says of each structure; see the class.

        Args:
            z: Atomic numbers; or a PyG ``Data`` or ``Batch`` with all of these arguments as attributes.
            pos: Positions.
            batch: The structure of each atom, in any order. None for a single structure.
            cell: Lattice vectors as rows: one cell for all structures, or ``[B, 3, 3]``, which also says how many there
                are.
            pbc: Which lattice vectors are periodic. None: all of them if there is a cell.
            edge_index: Sources and targets, with all pairs within the cutoff. None to find them by ``radius_graph``. In
                the order of that function where a graph is captured (``torch.compile``).
            shift: Counts of lattice vectors from target to source. None for zeros.

        Raises:
            ValueError: If positions are missing, a species is unknown, there are more structures than cells, or as
                ``radius_graph`` says.
        """
        if isinstance(z, Data):
            return self.forward(**arguments_of(z))
        name = type(self).__name__
        if pos is None:
            raise ValueError(f"{name}: expected positions `pos` beside the atomic numbers, but got None.")
        if edge_index is None:
            edge_index, shift = radius_graph(pos, self.network.cutoff, batch, cell, pbc)
        elif self.network.paired and not captured():
            order = pair_order(edge_index, shift)
            edge_index, shift = edge_index[:, order], None if shift is None else shift[order]
        if cell is not None and cell.ndim == 3:
            count = cell.shape[0]
            if batch is not None and not captured() and len(batch) and int(batch.max()) >= count:
                raise ValueError(
                    f"{name}: expected structures 0 to {count - 1}, as there are {count} cells, but batch has "
                    f"{int(batch.max())}; a cell for all structures has the shape [3, 3]."
                )
        else:
            count = 1 if batch is None else int(batch.max()) + 1 if len(batch) else 0
        cells = None if cell is None else cell.to(pos.dtype).expand(count, 3, 3)
        batch = torch.zeros_like(z) if batch is None else batch
        return self.evaluate(self.network.index_of(z), pos, batch, cells, edge_index, shift, count)

    @abstractmethod
    def evaluate(
        self,
        species: Int[Tensor, " n"],
        pos: Float[Tensor, "n 3"],
        batch: Int[Tensor, " n"],
        cell: Float[Tensor, "b 3 3"] | None,
        edge_index: Int[Tensor, "2 e"],
        shift: Float[Tensor, "e 3"] | Int[Tensor, "e 3"] | None,
        count: int,
    ) -> Any:
        """Return what the model says of ``count`` structures whose graph is known.

        Args:
            species: Indices into ``network.species``.
            pos: Positions.
            batch: The structure of each atom.
            cell: Lattice vectors of each structure.
            edge_index: Sources and targets.
            shift: Counts of lattice vectors from target to source.
            count: Number of structures.
        """
