"""Potentials as graphs that run without this library."""

import os

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config
from torch.fx.experimental.proxy_tensor import make_fx
from torch_geometric.data import Data

from isometry.models import Potential
from isometry.models._atomistic import arguments_of
from isometry.trainers.potentials.compile import compare, relative


def export_potential(
    potential: Potential, example: Data, path: str | os.PathLike[str] | None = None, tolerance: float | None = None
) -> ExportedProgram:
    """Export what a potential computes of one structure, for any number of atoms and edges, after a comparison.

    The program maps ``(z [N], pos [N, 3], cell [1, 3, 3], edge_index [2, E], shift [E, 3])``, with edges in the order
    of ``radius_graph``, to the potential's outputs. A file of it is read by ``torch.export.load``, or compiled by
    ``torch._inductor.aoti_compile_and_package`` for a program in C++.

    Args:
        potential: The potential, whose present weights are exported.
        example: A structure as ``atoms_graph`` gives it, of at least two atoms with edges.
        path: Where to save the program, a file ``.pt2``.
        tolerance: The largest difference on the example, relative to the largest force and atomic energy (from the
            references). None for the square root of the format's ``eps``.

    Raises:
        ValueError: If the example is a batch, or has no edges or no cell.
        PotentialMismatchError: If the program's results differ from the potential's.
    """
    given = arguments_of(example)
    inputs = tuple(given[key] for key in ("z", "pos", "cell", "edge_index", "shift"))
    if any(x is None for x in inputs) or given["batch"] is not None or len(example.z) < 2 or not example.num_edges:
        raise ValueError(
            "export_potential: expected one structure of at least two atoms with cell and edges, as atoms_graph gives "
            f"it, but got {example}."
        )

    def on_one(z: Tensor, pos: Tensor, cell: Tensor, edge_index: Tensor, shift: Tensor) -> dict[str, Tensor]:
        species = potential.network.species_table[z]
        torch._assert_async((species >= 0).all(), "unknown atomic number")
        return potential.on_graph(species, pos, torch.zeros_like(z), cell, edge_index, shift, 1)

    # torch.export cannot trace torch.func, but what make_fx has traced has the derivatives as plain operations.
    with torch.no_grad(), _config.patch(use_duck_shape=False):  # type: ignore[attr-defined]  # sizes that are equal here need not be
        graph = make_fx(on_one, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs)
        atoms, edges = Dim("atoms"), 2 * Dim("pairs")
        program = torch.export.export(
            graph, inputs, dynamic_shapes=({0: atoms}, {0: atoms}, None, {1: edges}, {0: edges})
        )
        expected, found = (relative(f, potential, given) for f in (potential(**given), program.module()(*inputs)))
    if tolerance is None:
        tolerance = torch.finfo(potential.network.dtype).eps ** 0.5
    compare(expected, found, "export_potential", tolerance)
    if path is not None:
        torch.export.save(program, path)
    return program
