"""Potentials as calculators of ase."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import nn

from isometry.models import Potential
from isometry.models._atomistic import arguments_of
from isometry.trainers.data import atoms_graph


class PotentialCalculator(Calculator):
    r"""A calculator of ase from a potential, or from the mean of several.

    Results are ``energy``, ``forces`` and, of potentials with ``stress=True``, which need a cell, ``stress``. Those of
    an ensemble are means, whose forces are those of the mean energy; the standard deviations over its M members,
    :math:`\sqrt{\sum_m (E_m - \bar E)^2 / (M - 1)}`, are ``results["energy_std"]`` and, for each component,
    ``results["forces_std"]``. They tell where members trained from different seeds or data disagree.

    Positions are float64 whatever the format of the parameters. Units are those that the potential was trained in;
    ase's own are eV and angstrom.

    Args:
        potentials: One, or the members of an ensemble, with one cutoff. Compiled ones are used as such.
        backend: Of the neighbour list; see ``radius_graph``.

    Raises:
        ValueError: If there is no potential, cutoffs differ, or one has no forces.

    Source: Lakshminarayanan et al. 2017, Simple and scalable predictive uncertainty estimation using deep ensembles.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "energy_std", "forces_std"]  # noqa: RUF012

    def __init__(self, potentials: Potential | Sequence[Potential], backend: str = "torch") -> None:
        super().__init__()
        members = [potentials] if isinstance(potentials, Potential) else list(potentials)
        cutoffs = sorted({potential.network.cutoff for potential in members})
        if len(cutoffs) != 1 or any(potential.forces is None for potential in members):
            raise ValueError(
                f"PotentialCalculator: expected potentials of one cutoff with forces, but got {len(members)} of "
                f"cutoffs {cutoffs} and forces {[potential.forces for potential in members]}."
            )
        self.potentials = nn.ModuleList(members).eval()
        self.cutoff = cutoffs[0]
        self.backend = backend

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Fill ``results`` for ``atoms``."""
        super().calculate(atoms, properties, system_changes)
        graph = arguments_of(atoms_graph(self.atoms, self.cutoff, dtype="float64", backend=self.backend))
        device = next(self.potentials.parameters()).device
        given = {key: None if value is None else value.to(device) for key, value in graph.items()}
        with torch.no_grad():
            outputs = [potential(**given) for potential in self.potentials]
        stacked = {key: torch.stack([out[key] for out in outputs]).double().cpu().numpy() for key in outputs[0]}
        energy, forces = stacked["energy"][:, 0], stacked["forces"]
        self.results = {"energy": energy.mean(), "free_energy": energy.mean(), "forces": forces.mean(0)}
        if "stress" in stacked:
            self.results["stress"] = full_3x3_to_voigt_6_stress(stacked["stress"][:, 0].mean(0))
        if len(outputs) > 1:
            self.results |= {"energy_std": np.std(energy, ddof=1), "forces_std": np.std(forces, 0, ddof=1)}
