"""Envelopes, which fade at the cutoff."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PolynomialCutoff(nn.Module):
    r"""Fade from 1 to 0 with two continuous derivatives at the cutoff, and ``p - 1`` of them 0 at distance 0.

    ``f(x) = 1 - (p+1)(p+2)/2 x^p + p(p+2) x^{p+1} - p(p+1)/2 x^{p+2}`` for ``x = r / cutoff < 1``, else 0; computed as
    ``(1 - x)^3 sum_{k<p} (k+1)(k+2)/2 x^k``, whose terms are positive, so that it is accurate up to the cutoff.

    Args:
        cutoff: Where it reaches 0, positive.
        p: The power, 1 or more.

    Source: Gasteiger et al. 2020, Directional message passing for molecular graphs, equation 8.
    """

    def __init__(self, cutoff: float, p: int = 6) -> None:
        super().__init__()
        if not cutoff > 0 or p < 1:
            raise ValueError(
                f"PolynomialCutoff: expected a positive cutoff and p >= 1, but got cutoff={cutoff} and p={p}."
            )
        self.cutoff, self.p = cutoff, p

    def forward(self, r: Float[Tensor, "*e"]) -> Float[Tensor, "*e"]:
        """Return the envelope at distances ``r >= 0``."""
        x = (r / self.cutoff).clamp_max(1)
        total = torch.full_like(x, self.p * (self.p + 1) / 2)
        for k in range(self.p - 1, 0, -1):
            total = total * x + k * (k + 1) / 2
        inside = 1 - x
        return inside * inside * inside * total

    def extra_repr(self) -> str:
        """Return the cutoff and the power."""
        return f"{self.cutoff}, p={self.p}"


class CosineCutoff(nn.Module):
    r"""Fade from 1 to 0 with one continuous derivative at the cutoff, ``(1 + cos(pi r / cutoff)) / 2``.

    Args:
        cutoff: Where it reaches 0, positive.

    Source: Behler & Parrinello 2007, Generalized neural-network representation of high-dimensional potential-energy
    surfaces, equation 4.
    """

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        if not cutoff > 0:
            raise ValueError(f"CosineCutoff: expected a positive cutoff, but got {cutoff}.")
        self.cutoff = cutoff

    def forward(self, r: Float[Tensor, "*e"]) -> Float[Tensor, "*e"]:
        """Return the envelope at distances ``r >= 0``, as the square of a sine, which is accurate up to the cutoff."""
        return torch.sin((1 - r / self.cutoff).clamp_min(0) * (math.pi / 2)).square()

    def extra_repr(self) -> str:
        """Return the cutoff."""
        return f"{self.cutoff}"
