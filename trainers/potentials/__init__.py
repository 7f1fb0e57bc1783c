"""Trained potentials at work: compiled, exported, and as calculators of ase."""

from typing import TYPE_CHECKING, Any

from isometry.trainers.potentials.compile import PotentialMismatchError, compile_potential
from isometry.trainers.potentials.export import export_potential

if TYPE_CHECKING:
    from isometry.trainers.potentials.calculator import PotentialCalculator
    from isometry.trainers.potentials.nve import Drift, nve_drift

__all__ = [
    "Drift",
    "PotentialCalculator",
    "PotentialMismatchError",
    "compile_potential",
    "export_potential",
    "nve_drift",
]

_NEED_ASE = {"Drift": "nve", "PotentialCalculator": "calculator", "nve_drift": "nve"}


def __getattr__(name: str) -> Any:
    """Load what needs ase when it is asked for: compiling and exporting do without."""
    if name not in _NEED_ASE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{_NEED_ASE[name]}"), name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{name} needs ase; install it by: pip install isometry[atoms]") from error
