"""Pictures of what was learned."""

from isometry.trainers.plots.poincare_disk import plot_poincare_disk

__all__ = ["plot_poincare_disk"]
