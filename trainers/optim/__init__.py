"""Optimizers for parameters on Riemannian manifolds."""

from isometry.trainers.optim.clip import clip_riemannian_grad_norm_, riemannian_grad_norm
from isometry.trainers.optim.low_rank import LowRankOptimizer
from isometry.trainers.optim.radam import RiemannianAdam
from isometry.trainers.optim.rsgd import RiemannianSGD

__all__ = ["LowRankOptimizer", "RiemannianAdam", "RiemannianSGD", "clip_riemannian_grad_norm_", "riemannian_grad_norm"]
