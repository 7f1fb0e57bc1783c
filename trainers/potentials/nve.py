"""Whether a potential conserves energy."""

from typing import Any, NamedTuple

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray


class Drift(NamedTuple):
    """The total energy along a trajectory.

    Args:
        time: In ps.
        energy: Potential and kinetic, of an atom, in eV, from that at time 0.
        temperature: In K.
        slope: Of the straight line through the energies by least squares, in eV per atom and ps.
        fluctuation: The root mean square distance of the energies from that line, in eV per atom.
    """

    time: NDArray[np.float64]
    energy: NDArray[np.float64]
    temperature: NDArray[np.float64]
    slope: float
    fluctuation: float


def nve_drift(
    calculator: Any,
    atoms: Atoms,
    temperature: float = 300.0,
    timestep: float = 0.5,
    steps: int = 1000,
    every: int = 1,
    seed: int = 0,
) -> Drift:
    """Run molecular dynamics at constant energy (velocity Verlet), and measure how constant it is.

    Exact forces of a smooth energy give a fluctuation that falls as ``timestep^2``, and no slope; forces that are
    no gradient, or an energy with steps, as at a cutoff that is not smooth, give a slope.

    Args:
        calculator: Of ase, such as ``PotentialCalculator``.
        atoms: Where to start; a copy moves.
        temperature: Of the velocities that are drawn, in K; half of it stays where the structure starts relaxed.
        timestep: In fs.
        steps: Number of steps.
        every: Record every so many.
        seed: Of the velocities.

    Raises:
        ValueError: If there are fewer than two records to draw a line through.
        FloatingPointError: If the energy is no number, as after atoms have collided.

    Source: Fu et al. 2022, Forces are not enough (accurate forces may be unstable in dynamics).
    """
    if steps < every or every < 1:
        raise ValueError(f"nve_drift: expected at least every={every} >= 1 steps, but got {steps}.")
    atoms = atoms.copy()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=np.random.default_rng(seed))
    Stationary(atoms)
    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    records: list[tuple[float, float, float]] = []

    def record() -> None:
        time = dynamics.get_number_of_steps() * timestep / 1000
        records.append((time, atoms.get_total_energy() / len(atoms), atoms.get_temperature()))
        if not np.isfinite(records[-1][1]):
            raise FloatingPointError(f"nve_drift: the energy is {records[-1][1]} after {time} ps.")

    dynamics.attach(record, interval=every)
    dynamics.run(steps)
    time, energy, temperatures = np.array(records).T
    slope, start = np.polyfit(time, energy, 1)
    fluctuation = np.sqrt(np.mean((energy - slope * time - start) ** 2))
    return Drift(time, energy - energy[0], temperatures, float(slope), float(fluctuation))
