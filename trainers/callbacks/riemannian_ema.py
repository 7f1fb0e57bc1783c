"""The exponential moving average of a model whose parameters lie on manifolds."""

from typing import Any

import geoopt
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from isometry.manifolds import Manifold, named_manifolds


class GeodesicAverage(AveragedModel):
    r"""A copy of a model that follows it along geodesics: ``x <- exp_x((1 - decay) log_x(y))``.

    Parameters without a manifold take ``x <- decay x + (1 - decay) y``, the same formula in flat space. Points of a
    hyperbolic space of learnable curvature are compared in unit-curvature coordinates, at the average's curvature.
    Buffers are the model's own. The first update copies the model.

    Args:
        model: The model, which is copied.
        decay: Weight of the past, in [0, 1].
        device: Where the copy lives.
    """

    def __init__(self, model: nn.Module, decay: float, device: torch.device | None = None) -> None:
        super().__init__(model, device=device)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the present parameters of ``model``."""
        manifolds, theirs = named_manifolds(self.module), named_manifolds(model)
        curvatures = {name: _curvature(manifold) for name, manifold in manifolds.items()}
        points = {self.module.get_parameter(name): name for name in manifolds}  # a tied table has several names
        step = 1 - self.decay if self.n_averaged else 1.0
        for x, y in zip(self.module.parameters(), model.parameters(), strict=True):
            if x not in points:
                x.lerp_(y, step)
        for x, name in points.items():
            manifold, y = manifolds[name], model.get_parameter(name)
            if self.n_averaged:
                start = _rescaled(manifold, x, curvatures[name])
                end = _rescaled(manifold, y, _curvature(theirs[name]))
                x.copy_(manifold.expmap(start, step * manifold.logmap(start, end)))
            else:
                x.copy_(y)
        for mine, current in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.copy_(current)
        self.n_averaged += 1


def _curvature(manifold: geoopt.manifolds.Manifold) -> Any:
    return manifold.c if isinstance(manifold, Manifold) else None


def _rescaled(manifold: geoopt.manifolds.Manifold, x: Tensor, c_old: Any) -> Tensor:
    """Return ``x`` moved to the manifold's present curvature, inside its range; geoopt's own manifolds keep theirs."""
    return manifold.projx(manifold.rescale(x, c_old)) if isinstance(manifold, Manifold) else x


class RiemannianEMA(WeightAveraging):
    """Keep an exponential moving average of the parameters, on their manifolds (see ``GeodesicAverage``).

    As with Lightning's ``WeightAveraging``, the averaged parameters take the place of the current ones during
    validation and after training, and are what a checkpoint's ``state_dict`` holds.

    Args:
        decay: Weight of the past at each step, in [0, 1].
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"RiemannianEMA: expected a decay in [0, 1], but got {decay}.")
        self.decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the module, on its device, when fitting begins."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            # The base class has no way to choose another AveragedModel.
            self._average_model = GeodesicAverage(pl_module, self.decay, trainer.strategy.root_device)
