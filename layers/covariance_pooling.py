"""Signals pooled to their covariance."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds import ShapeError
from isometry.manifolds._precision import full_precision


def ledoit_wolf(centred: Float[Tensor, "*b n t"]) -> Float[Tensor, "*b"]:
    r"""Return the shrinkage a for which ``(1 - a) S + a m I`` is nearest to the true covariance, as estimated.

    With ``S = X X^T/t`` of the centred samples, ``m = tr S/n``, ``d^2 = |S - m I|^2`` and
    ``b^2 = sum_k |x_k x_k^T - S|^2/t^2`` it is ``min(b^2/d^2, 1)``; 0 where ``d = 0``, as S is ``m I`` there.

    Source: Ledoit & Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices, section 3.2.
    """
    n, t = centred.shape[-2:]
    square = (centred @ centred.mT / t).square().sum((-2, -1))
    lengths = centred.square().sum(-2)
    d2 = square - lengths.mean(-1).square() / n
    b2 = (lengths.square().mean(-1) - square) / t
    flat = d2 <= 0
    return torch.where(flat, 0, b2 / torch.where(flat, 1, d2)).clamp(0, 1)


class CovariancePooling(FullPrecision):
    r"""The covariance over time, ``Y = (1 - a) C + a (tr C/n) I`` with ``C = X X^T/(t - 1)`` of the centred signals.

    C has rank t - 1 at most, so that n signals need more than n samples, or shrinkage ``a > 0``: then Y is positive
    definite unless all signals are constant (``Y = 0``). Too few samples without shrinkage are refused.

    Args:
        shrinkage: a in [0, 1), the same for all; or ``"ledoit-wolf"``: estimated for each matrix.
        learnable: Learn a, the sigmoid of a parameter, from ``shrinkage > 0`` on.
        unit_trace: Divide C by its trace, so that the signals' scale is forgotten (NaN for constant signals).

    Raises:
        ValueError: If ``shrinkage`` is out of its range.

    Source: Ledoit & Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices, equation 3.
    """

    def __init__(
        self,
        shrinkage: float | str = 0.0,
        *,
        learnable: bool = False,
        unit_trace: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(shrinkage, str):
            valid = shrinkage == "ledoit-wolf" and not learnable
        else:
            valid = 0 < shrinkage < 1 or (shrinkage == 0 and not learnable)
        if not valid:
            raise ValueError(
                "CovariancePooling: expected shrinkage in [0, 1), in (0, 1) if learnable, or 'ledoit-wolf' without "
                f"learnable, but got shrinkage={shrinkage!r}, learnable={learnable}."
            )
        self.shrinkage, self.learnable, self.unit_trace = shrinkage, learnable, unit_trace
        if learnable:
            self.logit = nn.Parameter(torch.tensor([float(shrinkage)]).logit())

    @full_precision
    def forward(self, x: Float[Tensor, "*b n t"]) -> Float[Tensor, "*b n n"]:
        """Return the covariance of the signals over their last dimension.

        Raises:
            ShapeError: If there are fewer than 2 samples, or n or fewer without shrinkage.
        """
        n, t = x.shape[-2:]
        least = n + 1 if self.shrinkage == 0 else 2
        if t < least:
            raise ShapeError(
                f"CovariancePooling: expected at least {least} samples of {n} signals, but got {t}. A covariance is "
                "singular with fewer than n + 1 samples: give shrinkage > 0, for which 2 are enough."
            )
        centred = x - x.mean(-1, keepdim=True)
        covariance = centred @ centred.mT / (t - 1)
        trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        if self.unit_trace:
            covariance, trace = covariance / trace, torch.ones_like(trace)
        target = trace / n * torch.eye(n, dtype=x.dtype, device=x.device)
        return torch.lerp(covariance, target, self._amount(centred))

    def _amount(self, centred: Tensor) -> float | Tensor:
        """Return a."""
        if self.learnable:
            return torch.sigmoid(self.logit.to(centred.dtype))
        if isinstance(self.shrinkage, str):
            return ledoit_wolf(centred)[..., None, None]
        return self.shrinkage

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"shrinkage={self.shrinkage!r}, learnable={self.learnable}, unit_trace={self.unit_trace}"
