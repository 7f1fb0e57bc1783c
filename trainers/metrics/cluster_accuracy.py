"""How well clusters are classes, some of which were known."""

from typing import Any

import torch
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class ClusterAccuracy(Metric):
    r"""The accuracy under the best one-to-one map of clusters to classes, which is one map for all samples.

    It computes ``all``, and ``old`` and ``new``, the accuracies of the samples of known classes and of the others;
    one without samples is NaN.

    Args:
        num_classes: Number of classes, and of clusters.
        num_old: How many classes, the first ones, were known.

    Source: Vaze, Han, Vedaldi & Zisserman 2022, Generalized category discovery, section 2; Kuhn 1955 for the map.
    """

    full_state_update = False
    clusters: list[Tensor]
    labels: list[Tensor]

    def __init__(self, num_classes: int, num_old: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= num_old <= num_classes:
            raise ValueError(f"ClusterAccuracy: expected num_old between 0 and {num_classes}, but got {num_old}.")
        self.num_classes, self.num_old = num_classes, num_old
        for name in ("clusters", "labels"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, clusters: Int[Tensor, " b"], labels: Int[Tensor, " b"]) -> None:
        """Add some samples: the numbers of their clusters, and their classes."""
        for name, numbers in (("clusters", clusters), ("classes", labels)):
            if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < self.num_classes:
                raise ValueError(
                    f"ClusterAccuracy: expected {name} 0 to {self.num_classes - 1}, but got {numbers.min()} to "
                    f"{numbers.max()}."
                )
        self.clusters.append(clusters)
        self.labels.append(labels)

    def compute(self) -> dict[str, Tensor]:
        """Return the accuracies of all samples, of those of known classes, and of the others."""
        if not self.clusters:
            raise ValueError("ClusterAccuracy: no sample was given.")
        clusters, labels = dim_zero_cat(self.clusters), dim_zero_cat(self.labels)
        pairs = clusters * self.num_classes + labels
        counts = pairs.bincount(minlength=self.num_classes**2).view(self.num_classes, self.num_classes)
        _, class_of = linear_sum_assignment(counts.cpu().numpy(), maximize=True)
        right = torch.from_numpy(class_of).to(labels.device)[clusters] == labels
        old = labels < self.num_old
        return {name: right[part].double().mean() for name, part in (("all", old | ~old), ("old", old), ("new", ~old))}
