"""How high the right answers to queries of a knowledge graph rank."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def filtered_ranks(scores: Tensor, tail: Tensor, known: Tensor) -> Tensor:
    """Return the ranks of answers among all that are not known to be right as well; ties count half.

    Args:
        scores: ``[b, n]``, of all answers to each query; higher is better.
        tail: ``[b]``, the right answers whose ranks are wanted.
        known: Pairs (query of the batch, answer) ``[k, 2]`` that are right; the wanted ones may be among them.

    Source: Bordes et al. 2013, Translating embeddings (filter); Sun et al. 2020, A re-evaluation of knowledge graph
    completion methods (ties: the mean over their orders).
    """
    wanted = scores.gather(1, tail.unsqueeze(1))
    others = torch.ones_like(scores, dtype=torch.bool)
    others[known[:, 0], known[:, 1]] = False
    others.scatter_(1, tail.unsqueeze(1), False)
    above, level = ((scores > wanted) & others).sum(1), ((scores == wanted) & others).sum(1)
    # What is no number outranks nothing, and is outranked by all.
    return torch.where(wanted.squeeze(1).isnan(), 1 + others.sum(1), 1 + above + level / 2)


class LinkRanking(Metric):
    r"""The mean reciprocal rank ``mrr``, and the shares ``hits@1``, ``hits@3``, ``hits@10`` of the best ranks.

    Ranks are those of ``filtered_ranks``, whose arguments ``update`` takes.
    """

    higher_is_better = True
    sums: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("sums", torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, scores: Tensor, tail: Tensor, known: Tensor) -> None:
        """Add a batch of queries."""
        ranks = filtered_ranks(scores, tail, known).double()
        values = [1 / ranks, *(ranks <= k for k in (1, 3, 10))]
        self.sums += torch.stack([value.double().sum() for value in values])
        self.count += len(tail)

    def compute(self) -> dict[str, Tensor]:
        """Return the means over queries."""
        return dict(zip(("mrr", "hits@1", "hits@3", "hits@10"), self.sums / self.count, strict=True))
