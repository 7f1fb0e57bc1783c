"""What can be read from a representation by a simple regression."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class _Probe(Metric):
    """A ridge regression, fitted to one half of what was seen and tested on the other half."""

    full_state_update = False
    higher_is_better = True

    def __init__(self, states: tuple[str, ...], penalty: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not penalty > 0:
            raise ValueError(f"{type(self).__name__}: expected a positive penalty, but got {penalty}.")
        self.penalty = penalty
        for name in states:
            self.add_state(name, [], dist_reduce_fx="cat")

    def _seen(self, name: str) -> Tensor:
        if not getattr(self, name):
            raise ValueError(f"{type(self).__name__}: no sample was given.")
        return dim_zero_cat(getattr(self, name))

    def _predict(self, kernel: Float[Tensor, "n n"], targets: Float[Tensor, "n t"]) -> Float[Tensor, "m t"]:
        """Return predictions for the second half by a regression on the first half."""
        half = len(kernel) // 2
        mean = targets[:half].mean(0)
        scale = self.penalty * kernel[:half, :half].diagonal().sum() / half
        scale = torch.where(scale == 0, 1, scale)  # features that are constant
        fitted = kernel[:half, :half] + scale * torch.eye(half, dtype=kernel.dtype, device=kernel.device)
        return mean + kernel[half:, :half] @ torch.linalg.solve(fitted, targets[:half] - mean)


class ClassProbe(_Probe):
    r"""The accuracy of classes that are linear in features: a ridge regression of the indicators of classes.

    The first half of the samples, which must be in no order of classes, is fitted, the second half tested; features
    have mean 0 and deviation 1 over the first half.

    Args:
        num_classes: Number of classes.
        penalty: Of the squared coefficients, relative to the mean squared length of features.
    """

    features: list[Tensor]
    labels: list[Tensor]

    def __init__(self, num_classes: int, penalty: float = 0.1, **kwargs: Any) -> None:
        super().__init__(("features", "labels"), penalty, **kwargs)
        self.num_classes = num_classes

    def update(self, features: Float[Tensor, "b d"], labels: Int[Tensor, " b"]) -> None:
        """Add some samples."""
        self.features.append(features.double())
        self.labels.append(labels)

    def compute(self) -> Tensor:
        """Return the accuracy on the second half."""
        features, labels = standardised(self._seen("features")), self._seen("labels")
        predicted = self._predict(features @ features.mT, one_hot(labels, self.num_classes).double())
        return (predicted.argmax(1) == labels[len(labels) // 2 :]).double().mean()


class PairProbe(_Probe):
    r"""How much of what leads from one view to another is a bilinear function of their features: :math:`R^2`.

    A ridge regression on ``(1, x) x (1, y)``, by its kernel ``(1 + x.x'/d) (1 + y.y'/d)``; the first half of the pairs
    is fitted, the second half tested, features have mean 0 and deviation 1 over the first half. 1 is a perfect
    prediction, 0 that of the mean.

    Args:
        penalty: Of the squared coefficients, relative to the mean squared length of features.
    """

    x: list[Tensor]
    y: list[Tensor]
    targets: list[Tensor]

    def __init__(self, penalty: float = 0.1, **kwargs: Any) -> None:
        super().__init__(("x", "y", "targets"), penalty, **kwargs)

    def update(self, x: Float[Tensor, "b d"], y: Float[Tensor, "b d"], targets: Float[Tensor, "b *t"]) -> None:
        """Add some pairs, and what leads from x to y."""
        self.x.append(x.double())
        self.y.append(y.double())
        self.targets.append(targets.flatten(1).double())

    def compute(self) -> Tensor:
        """Return the coefficient of determination on the second half, over all coordinates of the target together."""
        x, y, targets = standardised(self._seen("x")), standardised(self._seen("y")), self._seen("targets")
        kernel = (1 + x @ x.mT / x.shape[1]) * (1 + y @ y.mT / y.shape[1])
        tested = targets[len(targets) // 2 :]
        residual = (self._predict(kernel, targets) - tested).square().sum()
        return 1 - residual / (tested - tested.mean(0)).square().sum()


def standardised(features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Return features with mean 0 and deviation 1 over the first half; those that are constant become 0."""
    half = features[: len(features) // 2]
    deviation = half.std(0)
    return (features - half.mean(0)) / torch.where(deviation == 0, 1, deviation)
