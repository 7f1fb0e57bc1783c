"""The Fermi-Dirac link decoder."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FermiDirac(nn.Module):
    r"""Link probability from a distance, ``P = 1 / (exp((d - r)/t) + 1)``, given as the logit ``(r - d)/t``.

    Args:
        r: Radius at which a link has probability 1/2, in units of distance.
        t: Temperature, positive.

    Source: Krioukov et al. 2010; Nickel & Kiela 2017, equation 6.
    """

    def __init__(self, r: float = 2.0, t: float = 1.0) -> None:
        super().__init__()
        if not t > 0:
            raise ValueError(f"FermiDirac: expected a positive temperature t, but got {t}.")
        self.r, self.t = r, t

    def forward(self, dist: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Return the logit of a link at distance ``dist``."""
        return (self.r - dist) / self.t

    def probability(self, dist: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Return the probability of a link at distance ``dist``."""
        return torch.sigmoid(self(dist))
