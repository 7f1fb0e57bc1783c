"""The Lightning data module of structures of atoms."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from isometry.trainers.data.atoms import Frames, Precision, atoms_graph, read_frames
from isometry.trainers.data.process_share import SharedDataModule
from isometry.trainers.data.sample_batches import OrderedSamples, ShuffledSamples


class Normalization(NamedTuple):
    """What a potential is normalized by: the reference energies by atomic number, and the scale."""

    reference_energies: dict[int, float]
    scale: float


class ShuffledAtoms(ShuffledSamples):
    """Batches of structures in an order that follows from seed and epoch; see ``ShuffledSamples``.

    Args:
        graphs: Structures.
        batch_size: Of a batch, over all processes together.
        seed: Of the order.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(
        self, graphs: Sequence[Data], batch_size: int, *, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        rows = (torch.arange(len(graphs)),)
        super().__init__(rows, batch_size, seed=seed, rank=rank, world_size=world_size)
        self.graphs = graphs

    def items(self, epoch: int, start: int) -> Iterator[Batch]:
        """Yield the epoch's batches from the one that starts at row ``start``."""
        return (_collated(self.graphs, rows) for (rows,) in super().items(epoch, start))


class OrderedAtoms(OrderedSamples):
    """Batches of structures in order, every structure in exactly one process; see ``OrderedSamples``.

    Args:
        graphs: Structures.
        batch_size: Of a batch, over all processes together.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(self, graphs: Sequence[Data], batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        super().__init__((torch.arange(len(graphs)),), batch_size, rank=rank, world_size=world_size)
        self.graphs = graphs

    def __iter__(self) -> Iterator[Batch]:
        return (_collated(self.graphs, rows) for (rows,) in super().__iter__())


def _collated(graphs: Sequence[Data], rows: Tensor) -> Batch:
    """Return a batch whose edges come as from ``radius_graph``: the second half is the first one reversed."""
    chosen = [graphs[row] for row in rows.tolist()]
    batch = Batch.from_data_list(chosen)
    halves = torch.arange(batch.num_edges).split([half for graph in chosen for half in 2 * [graph.num_edges // 2]])
    order = torch.cat([*halves[::2], *halves[1::2]])
    batch.edge_index, batch.shift = batch.edge_index[:, order], batch.shift[order]
    del batch._slice_dict  # of the former order: PyG refuses to take the batch apart without it
    return batch


class AtomsDataModule(SharedDataModule):
    r"""Structures of atoms with energies, forces and other labels. A batch is a PyG ``Batch`` of ``atoms_graph``\ s.

    Files are read and neighbour lists are built once. Of the training frames, in an order that follows from ``seed``,
    the first ``val_size`` validate where there is no file for it, and the next ``train_size`` train: a larger
    ``train_size`` has all frames of a smaller one.

    Args:
        train: Frames to train on: a file that ase reads, such as an extended XYZ file or a database, or ``ase.Atoms``.
        val: Frames to validate on.
        test: Frames to test on.
        cutoff: Atoms closer than this are neighbours; that of the network.
        energy: The name of the energy in the files; None if there is none, as for the next two.
        forces: The name of the forces, on each atom.
        stress: The name of the stress, six numbers in Voigt's order or nine, positive under tension.
        properties: Names of other labels, which keep them.
        val_size: Frames to validate on, held out from those of ``train``.
        train_size: Frames to train on. None for all that are left.
        batch_size: Structures of a batch, over all processes together.
        seed: Of the split and the order in training.
        dtype: Of positions and labels; the energy is float64.
        backend: Of the neighbour lists; see ``radius_graph``.

    Raises:
        ValueError: If both ``val`` and ``val_size`` are given.
    """

    def __init__(
        self,
        train: Frames,
        val: Frames | None = None,
        test: Frames | None = None,
        *,
        cutoff: float = 5.0,
        energy: str | None = "energy",
        forces: str | None = "forces",
        stress: str | None = None,
        properties: Sequence[str] = (),
        val_size: int = 0,
        train_size: int | None = None,
        batch_size: int = 10,
        seed: int = 0,
        dtype: Precision = "float32",
        backend: str = "torch",
    ) -> None:
        super().__init__()
        if val is not None and val_size:
            raise ValueError(f"AtomsDataModule: expected val or val_size, but got both, {val} and {val_size}.")
        self.files: dict[str, Frames | None] = {"train": train, "val": val, "test": test}
        self.cutoff = cutoff
        named = {"energy": energy, "forces": forces, "stress": stress}
        self.labels = {name: key for name, key in named.items() if key is not None} | {key: key for key in properties}
        self.val_size, self.train_size = val_size, train_size
        self.batch_size = batch_size
        self.seed = seed
        self.dtype: Precision = dtype
        self.backend = backend

    @cached_property
    def parts(self) -> dict[str, list[Data]]:
        """The structures of ``train``, ``val`` and ``test``.

        Raises:
            ValueError: If a label is missing, or there are fewer frames than asked for.
        """
        frames = {part: [] if file is None else read_frames(file) for part, file in self.files.items()}
        size = len(frames["train"]) - self.val_size if self.train_size is None else self.train_size
        if size < 1 or self.val_size < 0 or self.val_size + size > len(frames["train"]):
            raise ValueError(
                f"AtomsDataModule: expected val_size={self.val_size} frames to validate on and at least one, or "
                f"train_size={self.train_size}, to train on, but there are {len(frames['train'])}."
            )
        order = torch.randperm(len(frames["train"]), generator=torch.Generator().manual_seed(self.seed)).tolist()
        held_out, trained = order[: self.val_size], order[self.val_size : self.val_size + size]
        frames["val"] += [frames["train"][i] for i in held_out]
        frames["train"] = [frames["train"][i] for i in trained]
        return {part: [self._graph(part, i, atoms) for i, atoms in enumerate(each)] for part, each in frames.items()}

    def _graph(self, part: str, number: int, atoms: object) -> Data:
        try:
            return atoms_graph(atoms, self.cutoff, self.labels, self.dtype, self.backend)
        except ValueError as error:
            raise ValueError(f"AtomsDataModule: frame {number} of {part}: {error}") from error

    @cached_property
    def normalization(self) -> Normalization:
        r"""The reference energies of the training structures, by least squares, and the scale.

        .. math:: \min_e \sum_b \Bigl(E_b - \sum_z n_{bz} e_z\Bigr)^2, \qquad
            s = \sqrt{\operatorname{mean}_{i a} F_{ia}^2}

        ``n_bz`` counts the atoms of a species; where the counts leave e open, as for structures of one composition, it
        is the shortest solution. Without forces, s is the root mean square of what is left of the energy of an atom.

        Raises:
            ValueError: If there are no energies.
        """
        graphs = self.parts["train"]
        if "energy" not in self.labels:
            raise ValueError("AtomsDataModule: expected energies to normalize by; name the label by `energy`.")
        species = torch.cat([graph.z for graph in graphs]).unique()
        counts = torch.stack([(graph.z.unsqueeze(1) == species).sum(0).double() for graph in graphs])
        energies = torch.cat([graph.energy for graph in graphs])
        solution = torch.linalg.lstsq(counts, energies.unsqueeze(1), driver="gelsd").solution.squeeze(1)
        if "forces" in self.labels:
            spread = torch.cat([graph.forces for graph in graphs])
        else:
            spread = (energies - counts @ solution) / counts.sum(1)
        references = dict(zip(species.tolist(), solution.tolist(), strict=True))
        return Normalization(references, spread.double().square().mean().sqrt().item())

    def setup(self, stage: str) -> None:
        """Read the frames, or fail, before anything is trained."""
        _ = self.parts

    def train_dataloader(self) -> ShuffledAtoms:
        """Return this process's share of the training batches."""
        return ShuffledAtoms(self.parts["train"], self.batch_size, seed=self.seed, **self.share)

    def val_dataloader(self) -> OrderedAtoms | list[Batch]:
        """Return this process's share of the structures to validate."""
        return self._ordered("val")

    def test_dataloader(self) -> OrderedAtoms | list[Batch]:
        """Return this process's share of the structures to test."""
        return self._ordered("test")

    def _ordered(self, part: str) -> OrderedAtoms | list[Batch]:
        graphs = self.parts[part]
        return OrderedAtoms(graphs, self.batch_size, **self.share) if graphs else []
