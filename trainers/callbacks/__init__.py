"""What a trainer does beside training: watch, average, draw, and survive interruptions."""

from isometry.trainers.callbacks.low_rank_monitor import LowRankMonitor
from isometry.trainers.callbacks.manifold_monitor import ManifoldMonitor
from isometry.trainers.callbacks.nan_guard import NaNGuard
from isometry.trainers.callbacks.poincare_disk import PoincareDisk
from isometry.trainers.callbacks.preempt import Preempt
from isometry.trainers.callbacks.riemannian_ema import GeodesicAverage, RiemannianEMA
from isometry.trainers.callbacks.rng_state import RNGState

__all__ = [
    "GeodesicAverage",
    "LowRankMonitor",
    "ManifoldMonitor",
    "NaNGuard",
    "PoincareDisk",
    "Preempt",
    "RNGState",
    "RiemannianEMA",
]
