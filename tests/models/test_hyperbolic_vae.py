from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from isometry.manifolds import Euclidean, Lorentz, PoincareBall, Sphere
from isometry.models import HyperbolicVAE
from isometry.trainers.optim import RiemannianAdam

DATA = 6


def normal(mean: Tensor) -> Normal:
    return Normal(mean, 0.5)


def network(manifold: Any, constant: bool = False) -> HyperbolicVAE:
    """An autoencoder in float64; with a decoder that does not look at z, if constant."""
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(DATA, 2 * manifold.dim), nn.Linear(manifold.dim, DATA)
    if constant:
        nn.init.zeros_(decoder.weight)
    return HyperbolicVAE(encoder, decoder, manifold, normal).double()


def samples(count: int = 3) -> Tensor:
    return torch.randn(count, DATA, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("manifold", [PoincareBall(2, 0.7), Lorentz(3), Euclidean(2), Sphere(2)], ids=repr)
def test_where_z_says_nothing_the_marginal_is_the_likelihood(manifold: Any) -> None:
    """The mean of ``p(z)/q(z)`` under q is 1 if, and only if, both densities are right."""
    model: Any = network(manifold, constant=True)
    with torch.no_grad():  # posteriors wider than the prior, where the ratio's variance is finite
        model.encoder.weight.mul_(0.2)
        model.encoder.bias[manifold.dim :] = 1.0
    x = samples()
    expected = normal(model.decoder.bias).log_prob(x).sum(1)
    torch.manual_seed(2)
    weights = model._log_weights(x, 20_000).detach() - expected.detach()
    error = weights.exp().std(0) / 20_000**0.5
    assert ((weights.exp().mean(0) - 1).abs() < 5 * error).all()
    assert (error < 0.1).all()
    torch.manual_seed(2)
    torch.testing.assert_close(model.log_marginal(x, 20_000), expected + weights.exp().mean(0).log())


def test_on_flat_space_the_bound_is_that_of_normals() -> None:
    model, x = network(Euclidean(2), constant=True), samples()
    posterior = model.posterior(x)
    divergence = kl_divergence(Normal(posterior.loc, posterior.scale), Normal(0.0, 1.0)).sum(1)
    expected = normal(model.decoder.bias).log_prob(x).sum(1) - divergence  # type: ignore[arg-type]
    torch.manual_seed(2)
    draws = model(x.repeat(4000, 1)).view(4000, len(x))
    assert ((draws.mean(0) - expected).abs() < 5 * draws.std(0) / 4000**0.5).all()


def test_both_models_of_hyperbolic_space_give_one_bound() -> None:
    values = []
    for space in (PoincareBall(2, 0.7), Lorentz(2, 0.7)):
        model = network(space)
        torch.manual_seed(2)
        values.append(model(samples()))
    torch.testing.assert_close(values[0], values[1], rtol=1e-9, atol=1e-9)


def test_a_tree_of_noise_is_learned_and_depth_is_distance() -> None:
    """A binary branching diffusion, as in Mathieu et al.: deeper nodes are farther from the origin."""
    generator = torch.Generator().manual_seed(0)
    nodes = [torch.zeros(20)]
    for i in range(1, 31):
        nodes.append(nodes[(i - 1) // 2] + torch.randn(20, generator=generator))
    x = torch.stack(nodes)
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    decoder = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 20))
    model = HyperbolicVAE(encoder, decoder, PoincareBall(2, learnable=True), normal)
    optimizer = RiemannianAdam(model, lr=3e-2)
    start = model.log_marginal(x, 50).mean().item()
    for _ in range(80):
        optimizer.zero_grad()
        loss = -model(x).mean()
        loss.backward()
        optimizer.step()
    end = model.log_marginal(x, 50).mean().item()
    assert end > start / 2  # both are negative
    origin = model.manifold.origin(2)
    radius = model.manifold.dist(origin, model.posterior(x).loc)
    assert radius[15:].mean() > radius[:3].mean()
