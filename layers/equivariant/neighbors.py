"""Neighbour lists of atoms, periodic or not."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_CANDIDATES = 1 << 17  # pairs whose distances are computed at once: few enough for the cache
_FINE = 4  # bins per cutoff along the last axis
_MOST_BINS = 1 << 14  # per axis, so that the number of a bin is an int64 for a gas of far atoms, too
_MARGIN = 1 + 1e-9  # no pair is lost by the rounding of its cell or bin

_Array = npt.NDArray[Any]
_Pairs = tuple[Tensor, Tensor, Tensor]  # i, j and the image n of j; of (i, j, n) and (j, i, -n) only one


@torch.no_grad()
def radius_graph(
    pos: Float[Tensor, "n 3"],
    cutoff: float,
    batch: Int[Tensor, " n"] | None = None,
    cell: Float[Tensor, "*b 3 3"] | None = None,
    pbc: Bool[Tensor, "*p 3"] | None = None,
    backend: str = "torch",
) -> tuple[Int[Tensor, "2 e"], Int[Tensor, "e 3"]]:
    r"""Return all pairs of atoms, periodic images included, that are closer than ``cutoff``.

    ``edge_index = [j, i]`` and ``shift = s`` hold every ``|pos_j + s cell - pos_i| < cutoff``, except an atom's pair
    with itself at ``s = 0``. Each pair comes in both directions: the second half of the edges is the first half
    reversed, in the same order. A cell may be smaller than the cutoff (an atom then neighbours many images, its own
    among them) and skewed, and atoms may lie outside it. Two atoms at one place are neighbours at distance 0.

    The backend "torch" moves atoms into their cell, copies them to the images within the cutoff of it, and sorts these
    into bins of the size of the cutoff: the work grows as the number of atoms. Distances are computed in float64.

    Args:
        pos: Positions, finite.
        cutoff: Positive, in the unit of the positions.
        batch: The structure of each atom, in any order. None for a single structure.
        cell: Lattice vectors as rows: one cell for all structures, or one each. A vector that is not periodic is not
            used and may be zero.
        pbc: Which lattice vectors are periodic. None: all of them if there is a cell, else none.
        backend: "torch"; or "vesin" or "matscipy", which must be installed and run on the CPU.

    Returns:
        ``edge_index`` of shape [2, E], sources ``j`` and targets ``i``, and ``shift`` of shape [E, 3], both int64.

    Raises:
        ValueError: If positions are not finite, the cutoff is not positive, lattice vectors are missing where they are
            periodic or are linearly dependent, or the numbers of atoms or structures differ.

    Source: Allen & Tildesley 2017, Computer Simulation of Liquids, section 5.3.2 (cell lists).
    """
    if backend not in _BACKENDS:
        raise ValueError(f"radius_graph: expected a backend of {list(_BACKENDS)}, but got {backend!r}.")
    if not 0 < cutoff < float("inf"):
        raise ValueError(f"radius_graph: expected a positive, finite cutoff, but got {cutoff}.")
    system = _wrapped(pos, batch, cell, pbc)
    if len(pos) == 0:
        return torch.empty(2, 0, dtype=torch.int64, device=pos.device), system.home
    i, j, image = _BACKENDS[backend](system, float(cutoff))
    shift = image + system.home[i] - system.home[j]
    return torch.stack([torch.cat([j, i]), torch.cat([i, j])]), torch.cat([shift, -shift])


def edge_vectors(
    pos: Float[Tensor, "n 3"],
    edge_index: Int[Tensor, "2 e"],
    shift: Float[Tensor, "e 3"] | Int[Tensor, "e 3"] | None = None,
    cell: Float[Tensor, "*b 3 3"] | None = None,
    batch: Int[Tensor, " n"] | None = None,
) -> Float[Tensor, "e 3"]:
    """Return ``pos_j + shift cell - pos_i``, differentiable in the positions and the cell.

    Args:
        pos: Positions.
        edge_index: Sources ``j`` and targets ``i``.
        shift: Counts of lattice vectors, as ``radius_graph`` returns them. None for zeros.
        cell: Lattice vectors as rows: one cell for all structures, or one each. None for no periodicity.
        batch: The structure of each atom. None for a single structure.
    """
    j, i = edge_index
    vec = pos.index_select(0, j) - pos.index_select(0, i)
    if shift is None or cell is None:
        return vec
    cells = cell.to(pos.dtype).reshape(-1, 3, 3)
    shift = shift.to(pos.dtype)
    if batch is None or cells.shape[0] == 1:
        return vec + shift @ cells[0]
    return vec + torch.einsum("ea,eab->eb", shift, cells.index_select(0, batch.index_select(0, i)))


def pair_order(
    edge_index: Int[Tensor, "2 e"], shift: Float[Tensor, "e 3"] | Int[Tensor, "e 3"] | None = None
) -> Int[Tensor, " e"]:
    """Return the order of the edges in which the second half is the first half reversed, as ``radius_graph`` has it.

    Args:
        edge_index: Sources and targets.
        shift: Counts of lattice vectors. None for zeros.

    Raises:
        ValueError: If an edge has no reverse: ``i -> j`` with ``-shift`` for ``j -> i`` with ``shift``.
    """
    edges = edge_index.T if shift is None else torch.cat([edge_index.T, shift.long()], 1)
    back = torch.cat([edges[:, :2].flip(1), -edges[:, 2:]], 1)
    order = torch.arange(len(edges), device=edges.device)
    half = len(edges) // 2
    if torch.equal(edges[:half], back[half:]):
        return order
    side = _direction(edges[:, 2:]) if shift is not None else torch.zeros_like(order)
    forth = (side > 0) | ((side == 0) & (edges[:, 0] > edges[:, 1]))
    number = torch.unique(torch.where(forth.unsqueeze(1), edges, back), dim=0, return_inverse=True)[1]
    first, second = (order[kept][number[kept].argsort()] for kept in (forth, ~forth))
    if not torch.equal(number[first], number[second]):
        raise ValueError(
            "expected edges in both directions, without self loops in a cell, but some have no reverse; "
            "`radius_graph` finds them all."
        )
    return torch.cat([first, second])


@dataclass(frozen=True)
class _System:
    """Structures whose atoms lie in their cells: ``pos`` of the input is ``pos + home cell``; all in float64."""

    pos: Float[Tensor, "n 3"]
    fraction: Float[Tensor, "n 3"]  # of the lattice vectors, in [0, 1]; 0 along one that is not periodic
    home: Int[Tensor, "n 3"]
    batch: Int[Tensor, " n"]
    cell: Float[Tensor, "b 3 3"]  # 0 where not periodic
    pbc: Bool[Tensor, "b 3"]
    planes: Float[Tensor, "b 3"]  # lattice planes per length; 0 where not periodic


def _wrapped(pos: Tensor, batch: Tensor | None, cell: Tensor | None, pbc: Tensor | None) -> _System:
    """Return the structures with atoms moved into their cells, after a check of all inputs."""
    if not pos.isfinite().all():
        raise ValueError(f"radius_graph: expected finite positions, but {int((~pos.isfinite()).any(1).sum())} are not.")
    batch = torch.zeros(len(pos), dtype=torch.int64, device=pos.device) if batch is None else batch.long()
    if len(batch) != len(pos) or (batch < 0).any():
        raise ValueError(
            f"radius_graph: expected the structure, 0 or more, of each of {len(pos)} atoms, but got {len(batch)} "
            f"numbers, {int((batch < 0).sum())} of them negative."
        )
    if cell is None:
        if pbc is not None and pbc.any():
            raise ValueError("radius_graph: periodic axes need lattice vectors; pass `cell`.")
        cell, pbc = pos.new_zeros(1, 3, 3), torch.zeros(1, 3, dtype=torch.bool, device=pos.device)
    elif pbc is None:
        pbc = torch.ones(3, dtype=torch.bool, device=pos.device)
    structures = int(batch.max()) + 1 if len(batch) else 0
    cell, pbc = (x.reshape(-1, *size) for x, size in ((cell, (3, 3)), (pbc, (3,))))
    for name, x in (("cell", cell), ("pbc", pbc)):
        if len(x) != 1 and len(x) < structures:
            raise ValueError(
                f"radius_graph: expected one {name}, or one for each of {structures} structures, but got {len(x)}."
            )
    count = max(len(cell), len(pbc), structures)
    pbc = pbc.expand(count, 3)
    cell = torch.where(pbc.unsqueeze(-1), cell.double(), 0.0)
    dual = _dual(cell, pbc)
    fraction = torch.einsum("na,nab->nb", pos.double(), dual[batch])
    home = fraction.floor()
    inside = pos.double() - torch.einsum("na,nab->nb", home, cell[batch])
    return _System(inside, fraction - home, home.long(), batch, cell, pbc, torch.linalg.vector_norm(dual, dim=1))


def _dual(cell: Float[Tensor, "b 3 3"], pbc: Bool[Tensor, "b 3"]) -> Float[Tensor, "b 3 3"]:
    """Return the matrices whose columns are dual to the periodic rows of ``cell``, and 0 for the others."""
    if not pbc.any():
        return torch.zeros_like(cell)
    if not cell.isfinite().all():
        raise ValueError("radius_graph: expected finite lattice vectors.")
    dual = torch.linalg.pinv(cell, rtol=1e-8)
    wrong = ((cell @ dual - torch.diag_embed(pbc.double())).abs() > 1e-6).flatten(1).any(1).nonzero().flatten()
    if len(wrong):
        raise ValueError(
            "radius_graph: expected linearly independent lattice vectors along the periodic axes, but those of "
            f"structure {int(wrong[0])} are {cell[wrong[0]].tolist()}; set `pbc` to False where nothing is periodic."
        )
    return torch.where(pbc.unsqueeze(1), dual, 0.0)


def _direction(image: Int[Tensor, "*b 3"]) -> Int[Tensor, "*b"]:
    """Return a number with the sign of the first component that is not 0, and 0 for the atom's own cell."""
    return (image.sign() * image.new_tensor([4, 2, 1])).sum(-1)


def _images(system: _System, cutoff: float) -> tuple[Tensor, Tensor]:
    """Return the atoms and images, none of negative direction, that are within the cutoff of their cell."""
    reach = (cutoff * _MARGIN * system.planes + (_MARGIN - 1))[system.batch]
    periodic = system.pbc[system.batch]
    first = torch.where(periodic, (-reach - system.fraction).ceil(), 0.0).long()
    last = torch.where(periodic, (1 + reach - system.fraction).floor(), 0.0).long()
    counts = last - first + 1
    copies = counts.prod(1)
    atom = torch.repeat_interleave(copies)
    number = torch.arange(len(atom), device=atom.device) - (copies.cumsum(0) - copies)[atom]
    counts = counts[atom]
    digits = [number // (counts[:, 1] * counts[:, 2]), number // counts[:, 2] % counts[:, 1], number % counts[:, 2]]
    image = torch.stack(digits, 1) + first[atom]
    kept = _direction(image) >= 0
    return atom[kept], image[kept]


def _cell_list(system: _System, cutoff: float) -> _Pairs:
    """Return the pairs by sorting atoms and images into bins."""
    atom, image = _images(system, cutoff)
    places = system.pos[atom] + torch.einsum("na,nab->nb", image.double(), system.cell[system.batch[atom]])
    # A pair counts from the lower to the higher atom in one cell, else in the direction of its image.
    rank = torch.where(_direction(image) > 0, len(system.pos), atom)
    origin = places.amin(0)
    widths = torch.clamp((places.amax(0) - origin) / _MOST_BINS, min=cutoff) * _MARGIN
    widths = widths / widths.new_tensor([1, 1, _FINE])
    bins = ((places - origin) / widths).long() + widths.new_tensor([1, 1, _FINE]).long()
    sizes = bins.amax(0) + bins.new_tensor([2, 2, _FINE + 1])
    strides = torch.stack([sizes[1] * sizes[2], sizes[2], torch.ones_like(sizes[2])])
    keys, order = ((bins * strides).sum(1) + system.batch[atom] * sizes.prod()).sort()

    homes = ((system.pos - origin) / widths).floor().long() + bins.new_tensor([1, 1, _FINE])
    columns = torch.cartesian_prod(*bins.new_tensor([[-1, 0, 1], [-1, 0, 1]])) @ strides[:2]
    centres = ((homes * strides).sum(1) + system.batch * sizes.prod()).unsqueeze(1) + columns
    starts = torch.searchsorted(keys, centres - _FINE).flatten()
    counts = torch.searchsorted(keys, centres + _FINE, right=True).flatten() - starts

    x, rank = places[order].T.contiguous(), rank[order]
    y = system.pos.T.contiguous()
    found = []
    for i, g in _candidates(starts, counts):
        i = i // len(columns)
        kept = (rank[g] > i).nonzero().squeeze(1)
        i, g = i[kept], g[kept]
        distance2 = sum((b[g] - a[i]).square() for a, b in zip(y, x, strict=True))
        kept = (distance2 < cutoff**2).nonzero().squeeze(1)
        found.append((i[kept], order[g[kept]]))
    i, g = (torch.cat(parts) for parts in zip(*found, strict=True))
    return i, atom[g], image[g]


def _candidates(starts: Int[Tensor, " r"], counts: Int[Tensor, " r"]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each row with each of its ``starts, starts + 1, ...``, a limited number at once."""
    ends = counts.cumsum(0)
    marks = torch.arange(0, int(ends[-1]), _CANDIDATES, device=ends.device)
    rows = [*torch.searchsorted(ends, marks, right=True).unique().tolist(), len(counts)]
    for lower, upper in pairwise(rows):
        count = counts[lower:upper]
        row = torch.repeat_interleave(count)
        offset = starts[lower:upper] - (ends[lower:upper] - count - (ends[lower] - counts[lower]))
        yield row + lower, torch.arange(len(row), device=row.device) + offset[row]


def _vesin(pos: _Array, cell: _Array, pbc: _Array, cutoff: float) -> Sequence[_Array]:
    from vesin import NeighborList

    return NeighborList(cutoff=cutoff, full_list=True).compute(pos, cell, pbc, "ijS")


def _matscipy(pos: _Array, cell: _Array, pbc: _Array, cutoff: float) -> Sequence[_Array]:
    from matscipy.neighbours import neighbour_list

    return neighbour_list("ijS", positions=pos, cell=cell, pbc=pbc, cutoff=cutoff)


def _by(find: Callable[[_Array, _Array, _Array, float], Sequence[_Array]]) -> Callable[[_System, float], _Pairs]:
    """Return a backend that lets ``find`` list the edges (i, j, image) of one structure at a time."""

    def pairs(system: _System, cutoff: float) -> _Pairs:
        found = []
        for b, atoms in enumerate(system.batch.argsort(stable=True).split(system.batch.bincount().tolist())):
            if len(atoms) == 0:
                continue
            cell, periodic = system.cell[b].clone(), system.pbc[b]
            cell[~periodic] = torch.linalg.svd(cell).Vh[int(periodic.sum()) :]  # unit vectors, normal to the others
            pos, box, axes = (x.cpu().numpy() for x in (system.pos[atoms], cell, periodic))
            edges = find(pos, box, axes, cutoff)
            i, j, image = (torch.from_numpy(x.astype(np.int64)).to(atoms.device) for x in edges)
            direction = _direction(image)
            kept = (direction > 0) | ((direction == 0) & (j > i))
            found.append((atoms[i[kept]], atoms[j[kept]], image[kept]))
        i, j, image = (torch.cat(parts) for parts in zip(*found, strict=True))
        return i, j, image

    return pairs


_BACKENDS: dict[str, Callable[[_System, float], _Pairs]] = {
    "torch": _cell_list,
    "vesin": _by(_vesin),
    "matscipy": _by(_matscipy),
}
