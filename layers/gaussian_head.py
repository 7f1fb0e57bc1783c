"""A representation as a normal distribution."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isometry.layers._full_precision import FullPrecision
from isometry.manifolds import DiagonalGaussian
from isometry.manifolds._precision import full_precision


def root_softplus(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Return ``sqrt(log(1 + exp(x)))``: positive as long as ``exp(x/2)`` is, and with a finite derivative.

    Far below 0, where the softplus is ``exp(x)`` to the last place, its root is taken in the exponent.
    """
    low = x < -40
    above = torch.logaddexp(torch.where(low, 0, x), torch.zeros_like(x)).sqrt()
    return torch.where(low, (torch.where(low, x, 0) / 2).exp(), above)


class GaussianHead(FullPrecision):
    r"""A normal distribution from features: ``mu = W h + b``, ``sigma^2 = softplus(beta (V h + c))/beta``.

    The outputs are points of ``DiagonalGaussian(k)``, ``[2, k]``: means, standard deviations. A document d is scored
    for a query q by ``-gaussian_kl(q, d)``; an index for inner products holds ``kl_to_inner_product_document(d)``, is
    asked for ``kl_to_inner_product_query(q)``, and returns the same ranking.

    Args:
        in_features: Coordinates of h.
        k: Number of variables.
        beta: Positive sharpness of the softplus.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ValueError: If ``beta`` is not positive.

    Source: Zamani & Bendersky 2023, Multivariate representation learning for information retrieval.
    """

    def __init__(
        self,
        in_features: int,
        k: int,
        beta: float = 1.0,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"GaussianHead: expected a positive beta, but got {beta}.")
        self.beta = float(beta)
        self.manifold = DiagonalGaussian(k)
        self.mean = nn.Linear(in_features, k, dtype=dtype, device=device)
        self.variance = nn.Linear(in_features, k, dtype=dtype, device=device)

    def forward(self, h: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 2 k"]:
        """Return means and standard deviations."""
        return self._normal(self.mean(h), self.variance(h))

    @full_precision
    def _normal(self, mean: Tensor, variance: Tensor) -> Tensor:
        return torch.stack([mean, root_softplus(self.beta * variance) / self.beta**0.5], -2)

    def extra_repr(self) -> str:
        """Return the sharpness."""
        return f"beta={self.beta}"
