"""Optimizers for parameters on Riemannian manifolds."""

from isometry.trainers.optim.radam import RiemannianAdam
from isometry.trainers.optim.rsgd import RiemannianSGD

__all__ = ["RiemannianAdam", "RiemannianSGD"]
