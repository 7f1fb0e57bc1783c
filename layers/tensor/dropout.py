"""Dropout of the ranks of a tensor in factors."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TensorDropout(nn.Module):
    r"""Drop entries of the ranks of a core: ``C x_1 M_1/(1 - p) ... x_d M_d/(1 - p)`` with random diagonal 0-1 M_k.

    Each index of each mode of the core is dropped with probability p, and with it a column of that mode's factor. The
    tensor ``C x_1 U_1 ... x_d U_d`` keeps its mean: modes that nothing is dropped from are not rescaled, and a mode may
    lose all its indices. The core of a CP tensor is the vector of its weights: whole terms are dropped. In eval mode
    nothing happens.

    Args:
        p: Probability, in [0, 1).
        min_rank: Modes of a smaller rank keep all indices.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Kolbeinsson et al. 2021, Tensor dropout for robust learning.
    """

    def __init__(self, p: float = 0.5, min_rank: int = 2) -> None:
        super().__init__()
        if not 0 <= p < 1 or min_rank < 1:
            raise ValueError(
                f"TensorDropout: expected 0 <= p < 1 and min_rank >= 1, but got p={p} and min_rank={min_rank}."
            )
        self.p, self.min_rank = p, min_rank

    def forward(self, core: Float[Tensor, "*r"]) -> Float[Tensor, "*r"]:
        """Return the core, all dimensions of which are modes, without what is dropped."""
        if not self.training or self.p == 0:
            return core
        for mode, rank in enumerate(core.shape):
            if rank >= self.min_rank:
                # In one format, so that the draws do not depend on that of the core.
                kept = torch.bernoulli(torch.full((rank,), 1 - self.p, dtype=torch.float32, device=core.device))
                core = core * (kept.to(core.dtype) / (1 - self.p)).view(-1, *[1] * (core.ndim - 1 - mode))
        return core

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"p={self.p}, min_rank={self.min_rank}"
