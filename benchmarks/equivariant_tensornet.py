"""TensorNet beside torchmd-net's, energies and forces of 8 x 50 atoms; and neighbour lists beside vesin, matscipy, ase.

torchmd-net runs with its kernels at both settings of `static_shapes` (True is its default), and with its fallback in
pure torch. All contestants have the same sizes and find the neighbours in each step; none keeps a graph for training.
"""

import importlib.util
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from benchmarks.race import Step
from isometry.layers.equivariant import radius_graph
from isometry.models import Potential, TensorNet
from isometry.trainers.potentials.compile import compile_potential

STRUCTURES, ATOMS, EDGES = 8, 50, 7058  # and a self loop of each atom
SPECIES = [1, 6, 7, 8]
CHANNELS, LAYERS, RADIAL = 128, 2, 32
CUTOFF = 4.5


def molecules() -> tuple[Tensor, Tensor, Tensor]:
    """Return species, positions and structures of a gas in which ``EDGES`` edges are shorter than the cutoff."""
    pos = torch.rand(STRUCTURES * ATOMS, 3, dtype=torch.float64)
    batch = torch.arange(STRUCTURES).repeat_interleave(ATOMS)
    lengths = torch.cdist(pos, pos).masked_fill(batch != batch.unsqueeze(1), torch.inf).fill_diagonal_(torch.inf)
    longest = lengths.flatten().sort().values[EDGES - 1 : EDGES + 1].mean()
    z = torch.tensor(SPECIES)[torch.randint(len(SPECIES), (len(pos),))]
    return z, (pos * (CUTOFF / longest)).float(), batch


def peer_module(pure: bool) -> ModuleType:
    """Return torchmd-net's module, a copy of its own whose path is that of its kernels or that in pure torch."""
    spec = importlib.util.find_spec("torchmdnet.models.tensornet")
    if spec is None or spec.loader is None:
        raise ImportError("install torchmd-net and warp-lang, without their dependencies")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if pure:
        module.OPT = False  # type: ignore[attr-defined]
        for name in ("compose_tensor", "decompose_tensor", "tensor_matmul_o3", "tensor_matmul_so3"):
            setattr(module, name, getattr(module, f"_{name}"))
    return module


def peer(pure: bool, static_shapes: bool) -> nn.Module:
    """Return torchmd-net's potential."""
    from torchmdnet.models.model import TorchMD_Net
    from torchmdnet.models.output_modules import Scalar

    network = peer_module(pure).TensorNet(
        hidden_channels=CHANNELS,
        num_layers=LAYERS,
        num_rbf=RADIAL,
        cutoff_upper=CUTOFF,
        static_shapes=static_shapes,
    )
    return TorchMD_Net(network, Scalar(CHANNELS, static_shapes=static_shapes), derivative=True).eval()


def tensornet() -> Iterator[tuple[str, dict[str, Step]]]:
    """Race the energies and forces of TensorNet."""
    z, pos, batch = molecules()
    count = radius_graph(pos, CUTOFF, batch)[0].shape[1]
    if count != EDGES:
        raise RuntimeError(f"expected {EDGES} edges, but got {count}")
    cell, pbc = torch.zeros(STRUCTURES, 3, 3), torch.zeros(STRUCTURES, 3, dtype=torch.bool)

    def peer_step(potential: nn.Module) -> Step:
        return lambda: potential(z, pos, batch)

    def step(potential: nn.Module) -> Step:
        @torch.no_grad()
        def energies_and_forces() -> Any:
            edge_index, shift = radius_graph(pos, CUTOFF, batch)
            return potential(z, pos, batch, cell, pbc, edge_index, shift)

        return energies_and_forces

    eager = Potential(TensorNet(SPECIES, CUTOFF, CHANNELS, LAYERS, RADIAL)).eval()
    compiled = Potential(TensorNet(SPECIES, CUTOFF, CHANNELS, LAYERS, RADIAL)).eval()
    edge_index, shift = radius_graph(pos, CUTOFF, batch)
    example = Data(z=z, pos=pos, batch=batch, cell=cell, pbc=pbc, edge_index=edge_index, shift=shift)
    compile_potential(compiled, example)
    yield (
        "TensorNet energies and forces",
        {
            "isometry": step(eager),
            "isometry, compiled": step(compiled),
            "torchmd-net": peer_step(peer(pure=False, static_shapes=False)),
            "torchmd-net, static shapes": peer_step(peer(pure=False, static_shapes=True)),
            "torchmd-net, pure torch": peer_step(peer(pure=True, static_shapes=False)),
        },
    )


def neighbours() -> Iterator[tuple[str, dict[str, Step]]]:
    """Race the neighbour lists of periodic systems with the density of water."""
    for atoms in (21, 192, 1728, 20000):
        side = (atoms / 0.1) ** (1 / 3)
        steps = neighbour_lists(
            torch.rand(atoms, 3, dtype=torch.float64) * side, torch.eye(3, dtype=torch.float64) * side
        )
        if atoms > 10000:  # ase takes seconds
            del steps["ase"]
        yield f"neighbours of {atoms} atoms within {CUTOFF}", steps


def neighbour_lists(pos: Tensor, cell: Tensor) -> dict[str, Step]:
    """Return the contestants for a periodic structure."""
    from ase import Atoms
    from ase.neighborlist import neighbor_list
    from matscipy.neighbours import neighbour_list
    from vesin import NeighborList

    x, box, pbc = pos.numpy(), cell.numpy(), [True] * 3
    structure = Atoms(numbers=[1] * len(pos), positions=x, cell=box, pbc=pbc)
    vesin = NeighborList(cutoff=CUTOFF, full_list=True, n_threads=1)
    return {
        "isometry": lambda: radius_graph(pos, CUTOFF, cell=cell),
        "vesin": lambda: vesin.compute(x, box, pbc, "ijS"),
        "matscipy": lambda: neighbour_list("ijS", positions=x, cell=box, pbc=pbc, cutoff=CUTOFF),
        "ase": lambda: neighbor_list("ijS", structure, CUTOFF),
    }
