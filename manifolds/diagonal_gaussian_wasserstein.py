"""Diagonal normal distributions with the Wasserstein metric."""

import math
from typing import Any

import torch
from torch import Tensor

from isometry.manifolds._gaussian import Gaussian
from isometry.manifolds._precision import full_precision


class DiagonalGaussianWasserstein(Gaussian):
    r"""Normals ``N(mu, diag(sigma^2))`` with the 2-Wasserstein metric: ``d^2 = |D_mu|^2 + |D_sigma|^2``.

    Flat in ``(mu, sigma)`` and incomplete: a geodesic reaches ``sigma = 0`` in finite time and ends there. Beyond, the
    exponential map has no value, and ``expmap`` gives NaN for the variables that left; ``Checked`` raises there.
    ``retr``, which optimizers use, is inside for every vector. The distance is also that of degenerate normals.

    Args:
        k: Number of variables, at least 1. A point is ``[2, k]``: means, standard deviations.

    Source: Takatsu, Wasserstein geometry of Gaussian measures, 2011; here the covariances commute.
    """

    def component_inner(self, x: Tensor, u: Tensor, v: Tensor | None = None) -> Tensor:
        """Return ``u_i v_i``: each number is a factor, so that an adaptive optimizer is the Euclidean one."""
        return self.proju(x, u * (u if v is None else v))

    @full_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Return the Euclidean ``u.v``."""
        return self.component_inner(x, u, v).sum((-2, -1), keepdim=keepdim)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``u``: the metric is that of R^(2k)."""
        return self.proju(x, u)

    @full_precision
    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Return ``x + u``, and NaN where ``sigma + u_sigma <= 0``: the geodesic has ended before."""
        mean, std = (x + u).unbind(-2)
        outside = std <= 0
        return torch.stack([torch.where(outside, math.nan, mean), torch.where(outside, math.nan, std)], -2)

    @full_precision
    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        r"""Return ``x + u`` with a falling ``sigma`` slowed down: ``sigma/(1 - r + r^2)``, ``r = u_sigma/sigma < 0``.

        That is ``sigma (1 + r) + O(r^3)``, a retraction of second order, and positive for every ``u``.
        """
        mean, std = (x + u).unbind(-2)
        s = x[..., 1, :]
        fall = (u[..., 1, :] / s).clamp_max(0)
        return torch.stack([mean, torch.where(fall < 0, s / (1 - fall + fall.square()), std)], -2)

    @full_precision
    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``y - x``."""
        return y - x

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Return ``v``."""
        return v.expand(torch.broadcast_shapes(x.shape, y.shape, v.shape))

    @full_precision
    def frechet_mean(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the weighted means of the means and of the standard deviations, the barycentre."""
        self.check_shape(x)
        w = x.new_ones(x.shape[-3]) if weights is None else weights
        w = w / w.sum(-1, keepdim=True)
        return (w.unsqueeze(-1).unsqueeze(-1) * x).sum(-3)

    def random(
        self, *size: Any, generator: torch.Generator | None = None, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Return standard normal means, and standard deviations ``2^s`` with ``s`` uniform in (-1, 1)."""
        shape = self._size(size)
        mean = torch.randn(shape, generator=generator, dtype=dtype, device=device)[..., 0, :]
        exponent = 2 * torch.rand(mean.shape, generator=generator, dtype=dtype, device=device) - 1
        return torch.stack([mean, exponent.exp2()], -2)
