"""Potentials compiled by torch, and checked."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from isometry.models import Potential
from isometry.models._atomistic import arguments_of


class PotentialMismatchError(RuntimeError):
    """A potential made faster is not the same potential."""


def compile_potential(
    potential: Potential, example: Data, backend: str | Callable[..., Any] = "inductor", tolerance: float | None = None
) -> Potential:
    r"""Compile a potential in place, to train it or to use it, after a comparison with what it was.

    ``torch.func`` takes the derivatives inside ``forward``, so that energy, forces and stress are one graph without
    breaks, whose single backward pass is that of the double backward of eager training: the gradients of the weights
    are compared, too. The numbers of atoms, edges and structures may change from call to call. Compiling takes minutes.

    A compiled potential is called with tensors that have their edges in the order of ``radius_graph``; ``ForceField``
    and ``PotentialCalculator`` do so. Copies of it are not compiled.

    Args:
        potential: Which is compiled as an ``nn.Module`` is by its ``compile``.
        example: A structure or a batch as it will be called with, with edges and with cells ``[B, 3, 3]``, on whose
            atoms forces act.
        backend: Of ``torch.compile``.
        tolerance: The largest difference, relative to the largest force, atomic energy (from the references) and
            gradient. None for the square root of the format's ``eps``.

    Returns:
        The potential.

    Raises:
        ValueError: If the example lacks edges or a cell, or its forces are 0, as they are everywhere if a derivative is
            lost: they would compare nothing.
        PotentialMismatchError: If a result differs; the potential is left as it was.
    """
    given = arguments_of(example)
    if given["edge_index"] is None or given["cell"] is None or (given["batch"] is None and len(given["cell"]) != 1):
        raise ValueError("compile_potential: expected an example with edges and cells, as atoms_graph gives it.")
    expected = _results(potential, given)
    if potential.forces is not None and not expected["forces"].abs().max() > 0:
        raise ValueError("compile_potential: expected an example with forces that are not 0, to compare them.")
    if tolerance is None:
        tolerance = torch.finfo(potential.network.dtype).eps ** 0.5
    potential.compile(fullgraph=True, dynamic=True, backend=backend)
    try:
        compare(expected, _results(potential, given), "compile_potential", tolerance)
    except BaseException:
        potential._compiled_call_impl = None
        raise
    return potential


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], name: str, tolerance: float) -> None:
    """Raise ``PotentialMismatchError`` unless each result agrees, relative to its largest number."""
    for key, value in expected.items():
        size, error = value.abs().max().item(), (found[key] - value).abs().max().item()
        if not error <= tolerance * size:  # NaN is bad, too
            raise PotentialMismatchError(
                f"{name}: {key} differ from those of the eager potential by {error:.1e}, where the largest is "
                f"{size:.1e}; the tolerance is {tolerance:.1e} of it. Use the eager potential, or another backend."
            )


def relative(
    outputs: Mapping[str, Tensor], potential: Potential, given: Mapping[str, Tensor | None]
) -> dict[str, Tensor]:
    """Return the outputs with the energy of the network alone, which reference energies would hide."""
    z, batch = given["z"], given["batch"]
    if z is None:
        raise ValueError("expected atomic numbers `z`, but got None.")
    references = potential.reference_energies
    atomic = torch.tensor([references[number] for number in z.tolist()], dtype=torch.float64, device=z.device)
    energy = outputs["energy"].index_add(0, torch.zeros_like(z) if batch is None else batch, -atomic)
    return {**outputs, "energy": energy}


def _results(potential: Potential, given: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Return outputs, and the gradient of a sum of their squares in the parameters."""
    results = relative(potential(**given), potential, given)
    trained = [parameter for parameter in potential.parameters() if parameter.requires_grad]
    if not trained:
        return results
    loss = torch.stack([value.double().square().sum() for value in results.values()]).sum()
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    flat = torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])
    return {key: value.detach() for key, value in results.items()} | {"gradients": flat}
