"""Energies, forces and stresses from a network of atoms."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isometry.layers.equivariant import edge_vectors
from isometry.manifolds._precision import captured
from isometry.models._atomistic import AtomisticNetwork
from isometry.models._invariant_readout import InvariantReadout
from isometry.models._structure_model import StructureModel


class Potential(StructureModel):
    r"""An interatomic potential: a sum of atomic energies, and its derivatives.

    .. math:: E = \sum_i \bigl(e_{z_i} + s\, \varepsilon(x_i)\bigr), \qquad
        F_i = -\frac{\partial E}{\partial r_i}, \qquad
        \sigma = \frac{1}{V} \frac{\partial E}{\partial \epsilon}\Bigr|_{\epsilon = 0}

    ``x_i`` are the network's features of atom i, ``varepsilon`` the readout of their invariants, ``e_z`` the reference
    energy of a species and s the scale. The symmetric strain moves positions and cell alike, ``r (1 + epsilon)``; V is
    the cell's volume, and the stress is positive under tension, as ase's.

    Derivatives are taken inside ``forward`` by ``torch.func``: they are right under ``torch.inference_mode`` and DDP,
    can be trained on, and compile. Under ``torch.no_grad`` autograd takes them, a quarter faster.

    Units are those of the data, such as eV and angstrom. Energies are summed in float64, and reference energies stay
    float64 in a model of float32, in which a total of -10^4 eV has steps of 1 meV. Positions may be float64 where the
    parameters are float32: then only edge vectors are rounded.

    Args:
        network: Maps atoms to features, such as ``TensorNet``.
        reference_energies: ``e_z`` of each species of the network, by atomic number. None for 0.
        scale: s, about the deviation of forces; see ``isometry.trainers.ForceField``, which finds both.
        forces: "conservative" for the energy's gradient; "direct" for the degree 1 of the features, gated by
            invariants, which is cheaper and conserves no energy; None for energies alone.
        stress: Give the stress, too.

    Raises:
        ValueError: If a species has no reference energy, the scale is not positive, features have no degree 1 for
            direct forces, or a stress is asked for without conservative forces.

    Source: Batzner et al. 2022, NequIP (atomic energies and their gradient); Knuth et al. 2015 (stress as a strain
    derivative); Gasteiger et al. 2021, GemNet (direct forces).
    """

    reference_bits: Tensor
    scale: Tensor

    def __init__(
        self,
        network: AtomisticNetwork,
        *,
        reference_energies: Mapping[int, float] | None = None,
        scale: float = 1.0,
        forces: str | None = "conservative",
        stress: bool = False,
    ) -> None:
        super().__init__(network)
        if forces not in ("conservative", "direct", None):
            raise ValueError(f"Potential: expected forces 'conservative', 'direct' or None, but got {forces!r}.")
        if stress and forces != "conservative":
            raise ValueError(f"Potential: a stress needs conservative forces, but forces is {forces!r}.")
        if forces == "direct" and network.layout.lmax < 1:
            raise ValueError("Potential: direct forces are features of degree 1, but the network has lmax=0.")
        self.forces = forces
        self.stress = stress
        gates = network.channels if forces == "direct" else 0
        self.readout = InvariantReadout(network.layout, network.channels, 1 + gates)
        # As bits, which no conversion of the module to another format rounds.
        self.register_buffer("reference_bits", torch.zeros(len(network.species), dtype=torch.int64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.normalize_(
            dict.fromkeys(network.species, 0.0) if reference_energies is None else reference_energies, scale
        )

    @property
    def reference_energies(self) -> dict[int, float]:
        """The reference energy of each species, by atomic number."""
        return dict(zip(self.network.species, self.reference_bits.view(torch.float64).tolist(), strict=True))

    @torch.no_grad()
    def normalize_(self, reference_energies: Mapping[int, float], scale: float) -> None:
        """Set the reference energy of each species, by atomic number, and the scale.

        Raises:
            ValueError: If a species has no reference energy, or the scale is not positive.
        """
        species = self.network.species
        if missing := sorted(set(species) - set(reference_energies)):
            raise ValueError(
                f"Potential: expected a reference energy of each species {list(species)}, but got none of {missing}."
            )
        if not 0 < scale < float("inf"):
            raise ValueError(f"Potential: expected a positive scale, but got {scale}.")
        energies = torch.tensor([reference_energies[z] for z in species], dtype=torch.float64)
        self.reference_bits.copy_(energies.view(torch.int64))
        self.scale.fill_(scale)

    def evaluate(
        self,
        species: Int[Tensor, " n"],
        pos: Float[Tensor, "n 3"],
        batch: Int[Tensor, " n"],
        cell: Float[Tensor, "b 3 3"] | None,
        edge_index: Int[Tensor, "2 e"],
        shift: Float[Tensor, "e 3"] | Int[Tensor, "e 3"] | None,
        count: int,
    ) -> dict[str, Tensor]:
        """Return the energies ``[B]`` in float64 and, as asked for, the ``forces [N, 3]`` and ``stress [B, 3, 3]``.

        Raises:
            ValueError: If a stress is asked for without a volume.
        """
        if self.stress and (cell is None or (not captured() and (torch.linalg.det(cell) == 0).any())):
            raise ValueError(
                "Potential: a stress needs a cell with a volume, but a structure has none; give one, or build the "
                "potential with stress=False."
            )
        return self.on_graph(species, pos, batch, cell, edge_index, shift, count)

    def on_graph(
        self,
        species: Int[Tensor, " n"],
        pos: Float[Tensor, "n 3"],
        batch: Int[Tensor, " n"],
        cell: Float[Tensor, "b 3 3"] | None,
        edge_index: Int[Tensor, "2 e"],
        shift: Float[Tensor, "e 3"] | Int[Tensor, "e 3"] | None,
        count: int,
    ) -> dict[str, Tensor]:
        """Return what ``evaluate`` does, without a look at values."""
        if self.forces != "conservative":
            energy, x, y = self._energies(species, pos, batch, cell, edge_index, shift, count)
            if self.forces is None:
                return {"energy": energy}
            vectors = torch.einsum("nac,nc->na", x[:, 1:4], y[:, 1:])
            return {"energy": energy, "forces": (self.scale.to(x.dtype) * vectors).to(pos.dtype)}

        def total(pos: Tensor, strain: Tensor | None) -> tuple[Tensor, Tensor]:
            strained = cell
            if strain is not None and cell is not None:
                symmetric = (strain + strain.mT) / 2
                pos = pos + torch.einsum("na,nab->nb", pos, symmetric.index_select(0, batch))
                strained = cell + cell @ symmetric
            energy, *_ = self._energies(species, pos, batch, strained, edge_index, shift, count)
            return energy.sum(), energy

        strain = pos.new_zeros(count, 3, 3) if self.stress else None
        energy, gradient, virial = _derivatives(total, pos, strain)
        if virial is None or cell is None:
            return {"energy": energy, "forces": -gradient}
        stress = virial / torch.linalg.det(cell).abs().view(-1, 1, 1)
        return {"energy": energy, "forces": -gradient, "stress": stress}

    def _energies(
        self,
        species: Tensor,
        pos: Tensor,
        batch: Tensor,
        cell: Tensor | None,
        edge_index: Tensor,
        shift: Tensor | None,
        count: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the structures' energies, the atoms' features, and what is read out of them."""
        vec = edge_vectors(pos, edge_index, shift, cell, batch)
        x = self.network.encode(species, edge_index, vec.to(self.network.dtype), batch)
        y = self.readout(x)
        atomic = self.reference_bits.view(torch.float64)[species] + self.scale.double() * y[:, 0].double()
        return atomic.new_zeros(count).index_add(0, batch, atomic), x, y


def _derivatives(
    total: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]], pos: Tensor, strain: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the energies, and the derivatives of their total by positions and strain."""
    if captured() or torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        if strain is None:
            gradient, (_, energy) = torch.func.grad_and_value(total, has_aux=True)(pos, None)
            return energy, gradient, None
        (gradient, virial), (_, energy) = torch.func.grad_and_value(total, (0, 1), has_aux=True)(pos, strain)
        return energy, gradient, virial
    # Nobody will differentiate these: autograd keeps no graph of them, as torch.func always does.
    with torch.enable_grad():
        variables = [x.clone().requires_grad_() for x in (pos, strain) if x is not None]
        value, energy = total(variables[0], None if strain is None else variables[1])
        gradient, *rest = torch.autograd.grad(value, variables)
    return energy.detach(), gradient, rest[0] if rest else None
