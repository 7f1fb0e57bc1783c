"""What every network of atoms satisfies, to machine precision in float64."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck
from torch_geometric.data import Batch, Data

from isometry.layers.equivariant import edge_vectors, radius_graph
from isometry.layers.equivariant.testing import Group, random_rotations, spherical
from isometry.layers.testing.case import float64_by_default
from isometry.models._atomistic import AtomisticNetwork

Z = torch.tensor([8, 6, 1, 1, 6, 1])
POS = torch.tensor(
    [[0.0, 0.1, 0.2], [1.3, 0.3, -0.1], [-0.5, 0.9, 0.3], [1.7, -0.8, 0.5], [0.6, 1.6, -0.9], [-0.4, -0.9, 1.4]]
).double()
CELL = torch.tensor([[2.1, 0.3, 0.0], [-0.7, 2.6, 0.4], [0.2, -0.5, 3.1]]).double()  # smaller than most cutoffs


@dataclass(frozen=True)
class AtomisticCase:
    """A network under test.

    Args:
        make_network: Builds it, for hydrogen, carbon and oxygen in any order; the cutoff is between 2 and 5.
        name: What the test is called.
        group: "O(3)" if features of natural parity obey inversion, too, else "SO(3)".
        cond: By how many times the format's ``eps`` features may be off, relative to the largest of them.
    """

    make_network: Callable[[], AtomisticNetwork]
    name: str
    group: Group = "O(3)"
    cond: float = 1e4

    def __str__(self) -> str:
        return self.name

    def network(self, dtype: torch.dtype = torch.float64) -> AtomisticNetwork:
        """Return a new network in eval mode, the same on each call."""
        with float64_by_default():
            return copy.deepcopy(self.make_network()).to(dtype).eval()

    def check(self, found: Tensor, expected: Tensor) -> None:
        """Fail unless features, derivatives or sums of them agree."""
        found, expected = found.detach(), expected.detach()
        error = float((found - expected).abs().max()) if found.numel() else 0.0
        bound = self.cond * torch.finfo(found.dtype).eps * float(expected.abs().max() if expected.numel() else 0.0)
        assert found.shape == expected.shape
        assert error <= bound, f"{self}: error {error:.1e} > {bound:.1e}"


def pair(network: AtomisticNetwork, distance: float) -> Tensor:
    """Return the features of three atoms, the last one at the end of an edge of this length, whatever the cutoff."""
    pos = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.5, 0.1], [0.0, 0.0, 0.0]]).double()
    direction = torch.tensor([-0.6, 0.64, 0.48]).double()
    pos[2] = distance * direction
    edge_index = torch.tensor([[0, 1, 0, 2], [1, 0, 2, 0]])
    return network(torch.tensor([8, 6, 1]), pos, edge_index=edge_index).detach()


class AtomisticSuite:
    """Every test of a network of atoms; subclass it as a pytest class and list the ``cases``."""

    cases: ClassVar[Sequence[AtomisticCase]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases, ids=str)

    def test_features_have_the_shape_of_the_layout_and_are_not_trivial(self, case: AtomisticCase) -> None:
        network = case.network()
        x = network(Z, POS)
        assert x.shape == (len(Z), network.layout.size, network.channels)
        for degree in range(network.layout.lmax + 1):
            assert x[:, network.layout.degrees == degree].abs().max() > 1e-4, f"degree {degree} is 0"
        assert (x[2] - x[3]).abs().max() > 1e-4  # atoms of one species in different places

    def test_rotations_of_the_atoms_rotate_the_features(self, case: AtomisticCase) -> None:
        network = case.network()
        for cell in (None, CELL):
            x = network(Z, POS, cell=cell)
            for R in random_rotations("SO(3)"):
                turned = network(Z, POS @ R.T, cell=None if cell is None else cell @ R.T)
                case.check(turned, spherical(network.layout.lmax)(x, R))

    def test_inversion_flips_odd_degrees_only_for_the_full_group(self, case: AtomisticCase) -> None:
        network = case.network()
        inversion = -torch.eye(3, dtype=torch.float64)
        found, expected = network(Z, -POS), spherical(network.layout.lmax)(network(Z, POS), inversion)
        if case.group == "O(3)":
            case.check(found, expected)
        else:
            assert (found - expected).abs().max() > 1e-4

    def test_translations_change_nothing(self, case: AtomisticCase) -> None:
        network = case.network()
        case.check(network(Z, POS + torch.tensor([3.0, -1.0, 2.0])), network(Z, POS))

    def test_permutations_of_atoms_and_edges_permute_the_features(self, case: AtomisticCase) -> None:
        network = case.network()
        atoms = torch.randperm(len(Z))
        case.check(network(Z[atoms], POS[atoms]), network(Z, POS)[atoms])
        edge_index, shift = radius_graph(POS, network.cutoff, cell=CELL)
        edges = torch.randperm(edge_index.shape[1])
        found = network(Z, POS, cell=CELL, edge_index=edge_index[:, edges], shift=shift[edges])
        case.check(found, network(Z, POS, cell=CELL))

    def test_a_batch_is_a_loop_over_structures_in_any_order_of_atoms(self, case: AtomisticCase) -> None:
        network = case.network()
        sizes = [4, 1, 6]
        batch = torch.repeat_interleave(torch.tensor(sizes))
        z, pos = (torch.cat([x[:size] for size in sizes]) for x in (Z, POS))
        cell = torch.stack([CELL, 2 * CELL, 1.1 * CELL])
        pbc = torch.tensor([[True, True, True], [False, False, False], [True, False, True]])
        single = [
            network(a, x, cell=c, pbc=p) for a, x, c, p in zip(z.split(sizes), pos.split(sizes), cell, pbc, strict=True)
        ]
        case.check(network(z, pos, batch, cell, pbc), torch.cat(single))
        order = torch.randperm(len(z))
        case.check(network(z[order], pos[order], batch[order], cell, pbc), torch.cat(single)[order])

    def test_pyg_data_and_batches_are_accepted(self, case: AtomisticCase) -> None:
        network = case.network()
        data = Data(z=Z, pos=POS, cell=CELL, pbc=torch.ones(3, dtype=torch.bool))
        expected = network(Z, POS, cell=CELL)
        case.check(network(data), expected)
        data.edge_index, data.shift = radius_graph(POS, network.cutoff, cell=CELL)
        case.check(network(Batch.from_data_list([data, data])), torch.cat([expected, expected]))

    def test_features_and_derivatives_fade_at_the_cutoff(self, case: AtomisticCase) -> None:
        """As ``delta^2`` at least, where ``delta`` is the distance to the cutoff."""
        network = case.network()
        alone = pair(network, 2 * network.cutoff)
        at = [float((pair(network, network.cutoff - d) - alone).abs().max()) for d in (2e-2, 1e-2, 5e-3)]
        assert 0 < at[2] < at[1] / 3.5 < at[0] / 12
        case.check(pair(network, network.cutoff), alone)
        case.check(pair(network, network.cutoff + 1e-9), alone)
        case.check(network(Z[:2], POS[:2] * 100), torch.cat([network(Z[i : i + 1], POS[:1]) for i in range(2)]))

    def test_far_copies_do_not_see_each_other(self, case: AtomisticCase) -> None:
        network = case.network()
        x = network(Z, POS)
        case.check(network(torch.cat([Z, Z]), torch.cat([POS, POS + 100])), torch.cat([x, x]))

    def test_periodic_images_are_one_atom_and_a_supercell_is_its_cell(self, case: AtomisticCase) -> None:
        network = case.network()
        x = network(Z, POS, cell=CELL)
        moves = torch.tensor([[0, 0, 0], [1, 0, -2], [0, 3, 0], [0, 0, 0], [-1, -1, -1], [5, 0, 0]]).double()
        case.check(network(Z, POS + moves @ CELL, cell=CELL), x)
        twice = torch.cat([POS, POS + CELL[1]])
        case.check(network(torch.cat([Z, Z]), twice, cell=CELL * torch.tensor([[1.0], [2], [1]])), torch.cat([x, x]))

    def test_float32_is_float64_rounded(self, case: AtomisticCase) -> None:
        wide = case.network()
        narrow = copy.deepcopy(wide).float()
        for pos in (POS.float(), POS):  # the format of the parameters decides
            x = narrow(Z, pos, cell=CELL)
            assert x.dtype == torch.float32
            case.check(x, wide(Z, POS, cell=CELL).float())

    def test_the_default_format_changes_nothing(self, case: AtomisticCase) -> None:
        expected = case.network()
        found = case.make_network().double().eval()  # float32 is the default here
        found.load_state_dict(expected.state_dict())
        assert torch.equal(found(Z, POS), expected(Z, POS))

    def test_derivatives_are_those_of_finite_differences(self, case: AtomisticCase) -> None:
        network = case.network()
        edge_index, shift = radius_graph(POS[:3], network.cutoff, cell=2 * CELL)

        def features(pos: Tensor, cell: Tensor) -> Tensor:
            return network(Z[:3], pos, cell=cell, edge_index=edge_index, shift=shift)

        inputs = (POS[:3].clone().requires_grad_(), (2 * CELL).requires_grad_())
        assert gradcheck(features, inputs, fast_mode=True)
        assert gradgradcheck(features, inputs, fast_mode=True)

    def test_forces_train_the_parameters(self, case: AtomisticCase) -> None:
        network = case.network().train()
        pos = POS.clone().requires_grad_()
        weight = torch.linspace(-1, 1, network.channels, dtype=torch.float64)
        (force,) = grad((network(Z, pos).square() * weight).sum(), pos, create_graph=True)
        force.square().sum().backward()
        assert force.abs().max() > 1e-6
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert parameter.grad.isfinite().all()
            assert parameter.grad.abs().max() > 0, f"{name} has no influence on the forces"

    def test_poles_single_atoms_and_atoms_at_one_place_give_finite_derivatives(self, case: AtomisticCase) -> None:
        network = case.network()
        axes = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]).double()
        for pos in (axes, axes[:1], axes[:0], axes[[0, 0, 1]], axes[[0, 0, 1]] + 1e-7 * axes[:3]):
            at = pos.clone().requires_grad_()
            x = network(torch.full((len(at),), 6), at)
            assert x.shape == (len(at), network.layout.size, network.channels)
            (force,) = grad(x.square().sum() + 0 * at.sum(), at, create_graph=True)
            (second,) = grad(force.square().sum() + 0 * at.sum(), at)
            for value in (x, force, second):
                assert value.isfinite().all()

    def test_encode_compiles_as_one_graph(self, case: AtomisticCase) -> None:
        network = case.network()
        edge_index, shift = radius_graph(POS, network.cutoff, cell=CELL)
        vec = edge_vectors(POS, edge_index, shift, CELL)
        compiled = torch.compile(network.encode, backend="aot_eager", fullgraph=True)
        results = []
        for encode in (network.encode, compiled):
            at = vec.clone().requires_grad_()
            x = encode(network.index_of(Z), edge_index, at)
            results.append([x, *grad(x.square().sum(), at)])
        for eager, fast in zip(*results, strict=True):
            case.check(fast, eager)

    def test_a_saved_state_restores_the_network(self, case: AtomisticCase) -> None:
        network = case.network()
        other = case.network()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(0.1)
        assert not torch.equal(other(Z, POS), network(Z, POS))
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(Z, POS), network(Z, POS))

    def test_unknown_species_are_named(self, case: AtomisticCase) -> None:
        for unknown in (7, 92, 0, -1):
            z = Z.clone()
            z[3] = unknown
            with pytest.raises(ValueError, match=rf"expected the atomic numbers .* but got \[{unknown}\] too"):
                case.network()(z, POS)
