"""Averages over a batch that may be spread over domains and over processes."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def _sum_over_processes(x: Tensor) -> Tensor:
    """Return the sum of the processes' tensors, differentiable (each process's gradient sums theirs)."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    from torch.distributed.nn.functional import all_reduce  # not there in builds without torch.distributed

    return all_reduce(x)


class BatchAverage:
    """The average of values over the samples of each domain.

    Args:
        member: 1 where a sample (row) is of a domain (column), else 0.
        synchronise: Whether to average over the samples of all processes.
    """

    def __init__(self, member: Float[Tensor, "b d"], synchronise: bool) -> None:
        self._reduce = _sum_over_processes if synchronise else lambda x: x
        count = self._reduce(member.sum(0))
        self.present: Bool[Tensor, " d"] = count > 0
        self.share: Float[Tensor, "d b"] = (member / count.clamp_min(1)).mT
        self._domain = member.argmax(1)

    def __call__(self, values: Float[Tensor, "b *shape"]) -> Float[Tensor, "d *shape"]:
        """Return the average over each domain, 0 for a domain without samples."""
        return self._reduce(torch.tensordot(self.share, values, 1))

    def at_samples(self, values: Float[Tensor, "d *shape"]) -> Float[Tensor, "..."]:
        """Return what each sample's domain has, in a tensor that broadcasts with the samples."""
        return values[0] if len(values) == 1 else values[self._domain]
