"""Variational autoencoders with latent points of a manifold."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus

from isometry.layers._translation import origin_like
from isometry.manifolds import HomogeneousManifold, WrappedNormal


class HyperbolicVAE(nn.Module):
    r"""The evidence lower bound ``log p(x|z) + log p(z) - log q(z|x)``, z a point of hyperbolic space.

    The prior is the wrapped normal of unit scale at the origin o; the posterior is one at ``exp_o`` of the encoder's
    mean. Both densities are exact, so that the bound is one, in any curvature, fixed or learned. Any other homogeneous
    manifold will do; on ``Euclidean`` it is the usual autoencoder.

    Args:
        encoder: Maps x to ``[b, 2 dim]``: the mean's coordinates in an orthonormal frame at o, and what softplus makes
            the scales.
        decoder: Maps the coordinates ``[b, dim]`` of ``log_o z`` in that frame to what ``likelihood`` takes.
        manifold: Where z lies, such as ``PoincareBall(2)``.
        likelihood: Makes the distribution of x, such as ``lambda logits: Bernoulli(logits=logits)``.

    Source: Nagano, Yamaguchi, Fujita & Koyama 2019, A wrapped normal distribution on hyperbolic space; Mathieu et al.
    2019, Continuous hierarchical representations with Poincare variational auto-encoders.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        manifold: HomogeneousManifold,
        likelihood: Callable[[Tensor], Distribution],
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.manifold = encoder, decoder, manifold
        self.likelihood = likelihood

    def forward(self, x: Float[Tensor, "b *d"]) -> Float[Tensor, " b"]:
        """Return the bound, estimated with one z for each x; its mean is to be maximised."""
        return self._log_weights(x, 1).squeeze(0)

    def log_marginal(self, x: Float[Tensor, "b *d"], samples: int) -> Float[Tensor, " b"]:
        """Return ``log mean_k p(x, z_k)/q(z_k|x)`` over so many draws, a tighter bound on ``log p(x)``.

        Source: Burda, Grosse & Salakhutdinov 2016, Importance weighted autoencoders.
        """
        return self._log_weights(x, samples).logsumexp(0) - math.log(samples)

    def posterior(self, x: Float[Tensor, "b *d"]) -> WrappedNormal:
        """Return the distribution of z for each x."""
        mean, spread = self.encoder(x).chunk(2, -1)
        u = self.manifold.origin_vector(mean)
        loc = self.manifold.expmap(origin_like(self.manifold, u), u)
        return WrappedNormal(self.manifold, loc, softplus(spread))

    def decode(self, z: Float[Tensor, "*b p"]) -> Distribution:
        """Return the distribution of x for points z."""
        u = self.manifold.logmap(origin_like(self.manifold, z), z)
        return self.likelihood(self.decoder(self.manifold.origin_coordinates(u)))

    def _log_weights(self, x: Tensor, samples: int) -> Tensor:
        posterior = self.posterior(x)
        prior = WrappedNormal(self.manifold, origin_like(self.manifold, posterior.loc), 1.0)
        z = posterior.rsample(torch.Size([samples]))
        reconstruction = self.decode(z).log_prob(x).flatten(2).sum(2)
        return reconstruction + prior.log_prob(z) - posterior.log_prob(z)
