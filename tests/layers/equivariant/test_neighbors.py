import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from isometry.layers.equivariant import edge_vectors, radius_graph
from isometry.layers.equivariant.neighbors import pair_order

NONE = torch.zeros(3, dtype=torch.bool)


def edges(edge_index: Tensor, shift: Tensor) -> list[tuple[int, ...]]:
    return sorted(map(tuple, torch.cat([edge_index.T, shift], 1).tolist()))


def brute_force(pos: Tensor, cutoff: float, cell: Tensor, pbc: Tensor) -> list[tuple[int, ...]]:
    """Return the edges by looking at all images that could matter."""
    planes = torch.linalg.inv(cell).norm(dim=0)
    fractions = pos @ torch.linalg.inv(cell)
    spread = fractions.amax(0) - fractions.amin(0)
    reach = torch.where(pbc, (cutoff * planes + spread).ceil() + 1, 0).long()
    images = torch.cartesian_prod(*(torch.arange(-int(n), int(n) + 1) for n in reach))
    vec = pos.unsqueeze(1) + (images.double() @ cell) - pos.view(-1, 1, 1, 3)  # [i, j, image]
    i, j, n = (vec.norm(dim=-1) < cutoff).nonzero().T
    kept = (i != j) | images[n].any(1)
    return sorted(map(tuple, torch.cat([torch.stack([j, i], 1), images[n]], 1)[kept].tolist()))


def random_structure(seed: int) -> tuple[Tensor, float, Tensor, Tensor]:
    """Return positions in and outside a skewed cell, often smaller than the cutoff, and mixed periodicity."""
    generator = torch.Generator().manual_seed(seed)
    n = int(torch.randint(1, 9, (), generator=generator))
    while True:
        cell = torch.randn(3, 3, generator=generator, dtype=torch.float64) * 3
        if cell.det().abs() > max(3.0, 0.15 * cell.norm(dim=1).prod()):
            break
    pos = torch.randn(n, 3, generator=generator, dtype=torch.float64) * 4
    return pos, float(torch.rand((), generator=generator)) * 4 + 0.8, cell, torch.rand(3, generator=generator) < 0.6


@pytest.mark.parametrize("seed", range(40))
def test_all_pairs_and_images_within_the_cutoff_are_found(seed: int) -> None:
    pos, cutoff, cell, pbc = random_structure(seed)
    edge_index, shift = radius_graph(pos, cutoff, cell=cell, pbc=pbc)
    assert edge_index.dtype == shift.dtype == torch.int64
    assert edges(edge_index, shift) == brute_force(pos, cutoff, cell, pbc)


@pytest.mark.parametrize("backend", ["torch", "vesin"])
def test_a_large_gas_is_searched_in_bins(backend: str) -> None:
    pos = torch.rand(700, 3, dtype=torch.float64) * torch.tensor([30.0, 12, 8])
    edge_index, shift = radius_graph(pos, 2.5, backend=backend)
    assert (shift == 0).all()
    near = (torch.cdist(pos, pos) < 2.5) & ~torch.eye(700, dtype=torch.bool)
    found = torch.zeros(700, 700, dtype=torch.bool)
    found[edge_index[0], edge_index[1]] = True
    assert torch.equal(found, near)
    assert edge_index.shape[1] == near.sum() > 4000


@pytest.mark.parametrize("backend", ["torch", "vesin"])
def test_the_second_half_is_the_first_half_reversed(backend: str) -> None:
    """Also at distances that are equal to the cutoff up to rounding, as the neighbours of a crystal are."""
    grid = torch.cartesian_prod(*[torch.arange(4.0)] * 3).double() * 1.1
    for cutoff in (1.1, 1.1 * math.sqrt(2), 1.1 * math.sqrt(3)):
        edge_index, shift = radius_graph(grid + 0.1 / 3, cutoff, cell=torch.eye(3).double() * 4.4, backend=backend)
        half = edge_index.shape[1] // 2
        assert torch.equal(edge_index[:, :half], edge_index[:, half:].flip(0))
        assert torch.equal(shift[:half], -shift[half:])
        vec = edge_vectors(grid, edge_index, shift, torch.eye(3).double() * 4.4)
        assert torch.equal(vec[:half], -vec[half:])


@pytest.mark.parametrize("backend", ["torch", "vesin"])
def test_a_batch_in_any_order_is_a_loop(backend: str) -> None:
    structures = [random_structure(seed) for seed in (1, 2, 3, 4)]
    pos, cell, pbc = (
        torch.stack([s[k] for s in structures]) if k > 1 else torch.cat([s[0] for s in structures]) for k in (0, 2, 3)
    )
    batch = torch.repeat_interleave(
        torch.tensor([0, 1, 2, 4]), torch.tensor([len(s[0]) for s in structures])
    )  # 3 is empty
    cell, pbc = (torch.cat([x[:3], x[:1], x[3:]]) for x in (cell, pbc))
    expected = []
    for s, (x, _, c, p) in zip((0, 1, 2, 4), structures, strict=True):
        atoms = (batch == s).nonzero().squeeze(1)
        edge_index, shift = radius_graph(x, 3.0, cell=c, pbc=p)
        expected += edges(atoms[edge_index], shift)
    order = torch.randperm(len(pos))
    edge_index, shift = radius_graph(pos[order], 3.0, batch[order], cell, pbc, backend=backend)
    assert edges(order[edge_index], shift) == sorted(expected)


def test_one_cell_serves_all_structures_and_a_cell_alone_is_periodic() -> None:
    pos, cutoff, cell, _ = random_structure(7)
    whole = torch.ones(3, dtype=torch.bool)
    single = radius_graph(pos, cutoff, cell=cell, pbc=whole)
    assert edges(*radius_graph(pos, cutoff, cell=cell)) == edges(*single)
    batch = torch.arange(2).repeat_interleave(len(pos))
    edge_index, shift = radius_graph(torch.cat([pos, pos]), cutoff, batch, cell)
    expected = [(a + k * len(pos), b + k * len(pos), *s) for a, b, *s in edges(*single) for k in (0, 1)]
    assert edges(edge_index, shift) == sorted(expected)


def test_lattice_vectors_along_open_axes_do_not_matter() -> None:
    pos, cutoff, cell, _ = random_structure(8)
    pbc = torch.tensor([True, False, False])
    bare = torch.where(pbc.unsqueeze(1), cell, 0)
    assert edges(*radius_graph(pos, cutoff, cell=bare, pbc=pbc)) == edges(
        *radius_graph(pos, cutoff, cell=cell, pbc=pbc)
    )
    assert edges(*radius_graph(pos, cutoff, cell=torch.zeros(3, 3), pbc=NONE)) == edges(*radius_graph(pos, cutoff))


def test_atoms_far_outside_their_cell_have_the_same_neighbours() -> None:
    pos, cutoff, cell, _ = random_structure(9)
    moves = torch.randint(-50, 50, (len(pos), 3))
    edge_index, shift = radius_graph(pos, cutoff, cell=cell)
    moved = radius_graph(pos + moves.double() @ cell, cutoff, cell=cell)
    j, i = edge_index
    assert edges(*moved) == edges(edge_index, shift + moves[i] - moves[j])


def test_atoms_at_one_place_are_neighbours_and_an_atom_is_not_its_own() -> None:
    pos = torch.tensor([[1.0, 2, 3], [1, 2, 3], [1, 2, 3 + 1e-9], [9, 9, 9]]).double()
    assert edges(*radius_graph(pos, 1.0)) == [(a, b, 0, 0, 0) for a in range(3) for b in range(3) if a != b]


@pytest.mark.parametrize("backend", ["torch", "vesin"])
def test_nothing_and_little_have_no_edges(backend: str) -> None:
    for pos in (torch.zeros(0, 3), torch.zeros(1, 3), torch.tensor([[0.0, 0, 0], [5, 0, 0]])):
        edge_index, shift = radius_graph(pos, 1.0, backend=backend)
        assert edge_index.shape == (2, 0)
        assert shift.shape == (0, 3)
        assert edge_index.dtype == shift.dtype == torch.int64
    batch = torch.zeros(0, dtype=torch.int64)
    assert radius_graph(torch.zeros(0, 3), 1.0, batch, torch.eye(3).expand(2, 3, 3))[0].shape == (2, 0)


def test_far_atoms_of_a_gas_need_no_memory() -> None:
    pos = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [1e9, 0, -1e9], [1e9, 0.5, -1e9]]).double()
    assert edges(*radius_graph(pos, 1.0)) == [(0, 1, 0, 0, 0), (1, 0, 0, 0, 0), (2, 3, 0, 0, 0), (3, 2, 0, 0, 0)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_formats_may_be_mixed_and_no_gradient_is_recorded(dtype: torch.dtype) -> None:
    pos, cutoff, cell, pbc = random_structure(11)
    expected = edges(*radius_graph(pos, cutoff, cell=cell, pbc=pbc))
    edge_index, shift = radius_graph(pos.to(dtype).requires_grad_(), cutoff, cell=cell.requires_grad_(), pbc=pbc)
    assert edges(edge_index, shift) == expected
    vec = edge_vectors(pos.to(dtype), edge_index, shift, cell)
    assert vec.dtype == dtype
    assert (vec.norm(dim=1) < cutoff).all()


def test_edge_vectors_are_differentiable_in_positions_and_cells() -> None:
    pos, _, cell, pbc = random_structure(3)
    batch = torch.arange(len(pos)) % 2
    cells = torch.stack([cell, 1.2 * cell])
    edge_index, shift = radius_graph(pos, 9.0, batch, cells, pbc)
    assert len(shift) > 10
    assert gradcheck(
        lambda x, c: edge_vectors(x, edge_index, shift, c, batch), (pos.requires_grad_(), cells.requires_grad_())
    )


def test_edges_in_any_order_are_put_in_pairs() -> None:
    pos, _, cell, _ = random_structure(5)
    edge_index, shift = radius_graph(pos, 4.0, cell=cell)
    mixed = torch.randperm(len(shift))
    for s in (shift[mixed], shift[mixed].double()):
        order = pair_order(edge_index[:, mixed], s)
        found, half = edge_index[:, mixed[order]], len(shift) // 2
        assert sorted(order.tolist()) == list(range(len(shift)))
        assert torch.equal(found[:, :half], found[:, half:].flip(0))
        assert torch.equal(shift[mixed[order]][:half], -shift[mixed[order]][half:])
    alone = torch.tensor([[0, 1, 2], [1, 0, 0]])
    for bad in (alone, alone[:, :1], torch.tensor([[0], [0]]), torch.tensor([[0, 0], [1, 1]])):
        with pytest.raises(ValueError, match="expected edges in both directions"):
            pair_order(bad)


def test_mistakes_are_named() -> None:
    pos = torch.zeros(3, 3)
    infinite = torch.tensor([[0.0, 0, 0], [math.nan, 0, 0], [0, math.inf, 0]])
    three = torch.arange(3)
    flat = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])
    mistakes: list[tuple[str, dict[str, object]]] = [
        ("expected a backend of", {"backend": "ase"}),
        ("positive, finite cutoff, but got 0", {"cutoff": 0.0}),
        ("positive, finite cutoff, but got inf", {"cutoff": math.inf}),
        ("expected finite positions, but 2 are not", {"pos": infinite}),
        ("periodic axes need lattice vectors", {"pbc": ~NONE}),
        ("expected finite lattice vectors", {"cell": flat * math.nan}),
        ("linearly independent lattice vectors .* structure 0", {"cell": flat}),
        ("linearly independent lattice vectors .* structure 1", {"cell": torch.stack([torch.eye(3), flat])}),
        ("1 of them negative", {"batch": torch.tensor([0, -1, 0])}),
        ("one cell, or one for each of 3 structures, but got 2", {"batch": three, "cell": flat.repeat(2, 1, 1)}),
        ("one pbc, or one for each of 3", {"batch": three, "cell": flat, "pbc": NONE.repeat(2, 1)}),
    ]  # fmt: skip
    for message, arguments in mistakes:
        with pytest.raises(ValueError, match=message):
            radius_graph(**{"pos": pos, "cutoff": 1.0, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["torch", "vesin"])
def test_ase_lists_the_same_edges(backend: str) -> None:
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    for seed in range(20):
        pos, cutoff, cell, pbc = random_structure(100 + seed)
        atoms = Atoms(numbers=[1] * len(pos), positions=pos.numpy(), cell=cell.numpy(), pbc=pbc.numpy())
        i, j, shift = neighbor_list("ijS", atoms, cutoff)
        expected = sorted(map(tuple, np.column_stack([j, i, shift]).tolist()))
        assert edges(*radius_graph(pos, cutoff, cell=cell, pbc=pbc, backend=backend)) == expected


@pytest.mark.peers
def test_matscipy_lists_the_same_edges() -> None:
    for seed in range(40):
        pos, cutoff, cell, pbc = random_structure(200 + seed)
        expected = edges(*radius_graph(pos, cutoff, cell=cell, pbc=pbc))
        assert edges(*radius_graph(pos, cutoff, cell=cell, pbc=pbc, backend="matscipy")) == expected
