"""How far predictions of numbers are off."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric


class Residual(Metric):
    """The mean absolute and the root mean square of errors, ``mae`` and ``rmse``, over all their components.

    Sums are float64: the millionth sample counts as much as the first. Without samples there are no values.
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        for name in ("absolute", "square", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.absolute: Tensor
        self.square: Tensor
        self.count: Tensor

    def update(self, error: Float[Tensor, "*b"]) -> None:
        """Add errors, predictions minus what they should be."""
        error = error.double()
        self.absolute += error.abs().sum()
        self.square += error.square().sum()
        self.count += error.numel()

    def compute(self) -> dict[str, Tensor]:
        """Return both."""
        if not self.count:
            return {}
        return {"mae": self.absolute / self.count, "rmse": (self.square / self.count).sqrt()}
