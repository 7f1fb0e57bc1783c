"""A watch on whether parameters stay on their manifolds."""

import geoopt
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from isometry.manifolds import Manifold, OffManifoldError, named_manifolds


class ManifoldMonitor(Callback):
    """Log the worst ``point_residual`` of each registered parameter, as ``residual/<name>``, at the end of every epoch.

    Args:
        atol: The residual above which training stops.

    Raises:
        OffManifoldError: A point's residual is above ``atol`` or is not a number, on any rank.
    """

    def __init__(self, atol: float = 1e-5) -> None:
        self.atol = atol

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the parameters after an epoch of training."""
        self._check(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the parameters that were validated."""
        self._check(trainer, pl_module)

    @torch.no_grad()
    def _check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        worst = {
            name: float(_residual(manifold, pl_module.get_parameter(name)).max())
            for name, manifold in named_manifolds(pl_module).items()
        }
        bad = [name for name, residual in worst.items() if not residual <= self.atol]  # NaN is bad, too
        if trainer.strategy.reduce_boolean_decision(bool(bad), all=False):
            found = ", ".join(f"{name} has residual {worst[name]:.1e}" for name in bad) or "it is on another rank"
            raise OffManifoldError(
                f"ManifoldMonitor: expected every parameter to be on its manifold within {self.atol:.0e}, but {found}. "
                "Step with an optimizer of isometry.trainers.optim, or lower the learning rate if values are NaN."
            )
        pl_module.log_dict({f"residual/{name}": residual for name, residual in worst.items()}, sync_dist=True)


def _residual(manifold: geoopt.manifolds.Manifold, x: Tensor) -> Tensor:
    """Return each point's residual; for geoopt's own manifolds, how far its projection moves it."""
    return manifold.point_residual(x) if isinstance(manifold, Manifold) else (manifold.projx(x) - x).abs()
