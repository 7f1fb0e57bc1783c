"""Whether an activation of each coordinate respects a representation."""

import copy
from collections.abc import Callable

import torch
from e3nn import o3
from torch import Tensor, nn

from isometry.layers.equivariant.edge_frame import edge_frame
from isometry.layers.equivariant.wigner import WignerD

_TOLERANCE = 1e-5


class EquivarianceError(ValueError):
    """A layer that would not commute with the action of the group."""


def check_pointwise(representation: o3.Irreps | str | Tensor, activation: Callable[[Tensor], Tensor]) -> None:
    r"""Raise unless applying ``activation`` to each coordinate is equivariant, ``s(rho(g) x) = rho(g) s(x)``.

    Row by row this says ``s(sum_j r_j x_j) = sum_j r_j s(x_j)`` for all x, and so, for a continuous s:

    - a row with one entry r asks for ``s(r x) = r s(x)``: nothing of r = 1, an odd function of r = -1;
    - a row with more entries asks for ``s(x) = a x + b`` (with all but two coordinates 0 it is Cauchy's equation), and
      for ``b = 0`` unless the row sums to 1.

    Permutations thus allow every activation, signed permutations the odd ones, and all others of a compact group none
    but affine ones. Of O(3), ``0e`` allows every activation, ``0o`` the odd ones, and degrees from 1 on only ``a x``.

    Args:
        representation: Irreps of O(3), such as ``"16x0e + 8x1o"``, or matrices ``[g, n, n]`` of the elements of a
            finite group, or of elements that generate the group.
        activation: The function s, evaluated on numbers in float64 between -20 and 20.

    Raises:
        EquivarianceError: If it is not equivariant. Names the irreps or the matrices, says why, and what works.

    Source: Pacini et al. 2024, A characterization theorem for equivariant networks with point-wise activations.
    """
    name = getattr(activation, "__name__", type(activation).__name__)
    function = copy.deepcopy(activation).double() if isinstance(activation, nn.Module) else activation
    if isinstance(representation, Tensor):
        if representation.ndim != 3 or representation.shape[-1] != representation.shape[-2]:
            raise ValueError(f"check_pointwise: expected matrices [g, n, n], but got {tuple(representation.shape)}.")
        parts = {f"matrix {i}": matrix.unsqueeze(0) for i, matrix in enumerate(representation.double())}
    else:
        parts = {str(irrep): _elements(irrep) for _, irrep in o3.Irreps(representation)}
    faults = [f"{part} {fault}" for part, matrices in parts.items() if (fault := _fault(matrices, function))]
    if faults:
        raise EquivarianceError(
            f"check_pointwise: {name} on each coordinate is not equivariant: {'; '.join(faults)}. Where signs change, "
            "an odd function such as tanh, or (s(x) - s(-x)) / 2, works. Where coordinates are mixed, take Gate, "
            "NormActivation or SwiGLUS2, which are exact, or S2Activation, which states its error."
        )


def _elements(irrep: o3.Irrep) -> Tensor:
    """Return the matrices of a generic rotation and of the inversion."""
    rotation = edge_frame(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    matrix = WignerD(irrep.l).double()(rotation)[-1]
    return torch.stack([matrix, irrep.p * torch.eye(irrep.dim, dtype=torch.float64)])


def _fault(matrices: Tensor, function: Callable[[Tensor], Tensor]) -> str:
    """Return what about the matrices the function does not allow, or an empty text."""
    x = torch.linspace(-20, 20, 401, dtype=torch.float64)
    y, zero = function(x), function(torch.zeros_like(x))
    affine = _equal(y, zero + x * (function(torch.ones_like(x)) - zero))
    for row in matrices.flatten(0, 1):
        entries = row[row.abs() > _TOLERANCE]
        if len(entries) == 1 and not _equal(function(entries * x), entries * y):
            asked = "changes signs, which asks for an odd function" if entries < 0 else "scales coordinates"
            return f"{asked} (s({entries.item():.3g} x) is not {entries.item():.3g} s(x))"
        if len(entries) > 1 and not affine:
            return "mixes coordinates, which asks for s(x) = a x"
        if len(entries) > 1 and not _equal(entries.sum() * zero, zero):
            return "mixes coordinates with weights that do not sum to 1, which asks for s(0) = 0"
    return ""


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool(((a - b).abs() <= _TOLERANCE * (a.abs() + b.abs())).all())
