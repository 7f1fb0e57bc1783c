"""Euclidean space against torch, geoopt and the normal distribution."""

import math

import geoopt
import pytest
import torch
from torch.distributions import MultivariateNormal

from isometry.manifolds import Euclidean

N = 3


@pytest.fixture
def data() -> list[torch.Tensor]:
    return list(torch.randn(4, 5, N, dtype=torch.float64))


def test_agrees_with_geoopt(data: list[torch.Tensor]) -> None:
    ours, theirs = Euclidean(N), geoopt.Euclidean(ndim=1)
    x, y, u, v = data
    for name, arguments in [
        ("dist", (x, y)),
        ("dist2", (x, y)),
        ("inner", (x, u, v)),
        ("norm", (x, u)),
        ("expmap", (x, u)),
        ("logmap", (x, y)),
        ("transp", (x, y, v)),
        ("egrad2rgrad", (x, u)),
        ("proju", (x, u)),
        ("projx", (x,)),
        ("component_inner", (x, u, v)),
    ]:
        torch.testing.assert_close(
            getattr(ours, name)(*arguments), getattr(theirs, name)(*arguments), rtol=1e-15, atol=0
        )


def test_frechet_mean_is_the_weighted_average(data: list[torch.Tensor]) -> None:
    x, weights = data[0], torch.tensor([1.0, 2.0, 0.0, 3.0, 4.0], dtype=torch.float64)
    expected = (weights.unsqueeze(-1) * x).sum(0) / 10
    torch.testing.assert_close(Euclidean(N).frechet_mean(x, weights), expected, rtol=1e-14, atol=1e-15)


def test_heat_kernel_is_the_normal_density(data: list[torch.Tensor]) -> None:
    x, y, *_ = data
    t = torch.tensor([1e-3, 0.1, 1.0, 10.0, 1e3], dtype=torch.float64)
    expected = MultivariateNormal(x, t.reshape(5, 1, 1) * torch.eye(N, dtype=torch.float64)).log_prob(y)
    torch.testing.assert_close(Euclidean(N).heat_kernel_log_prob(t, x, y), expected, rtol=1e-13, atol=0)


def test_brownian_motion_has_variance_t() -> None:
    generator, count = torch.Generator().manual_seed(0), 40_000
    x = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64).expand(count, N)
    t = torch.full((count,), 0.3, dtype=torch.float64)
    steps = Euclidean(N).sample_heat_kernel(t, x, generator) - x
    error = math.sqrt(2 / count)  # standard deviation of a sample variance, relative
    torch.testing.assert_close(torch.cov(steps.mT) / 0.3, torch.eye(N, dtype=torch.float64), rtol=0, atol=5 * error)


def test_isometries_are_rigid_motions(data: list[torch.Tensor]) -> None:
    m, (x, y, *_) = Euclidean(N), data
    q, p = m.random_isometry(torch.Generator().manual_seed(0), torch.float64)
    torch.testing.assert_close(q @ q.mT, torch.eye(N, dtype=torch.float64))
    torch.testing.assert_close(m.act((q, p), x), torch.stack([q @ a for a in x]) + p)
    torch.testing.assert_close(torch.cdist(m.act((q, p), x), m.act((q, p), y)), torch.cdist(x, y))


def test_squares_of_half_precision_lengths_do_not_overflow_or_vanish() -> None:
    m, zero = Euclidean(1), torch.zeros(2, 1, dtype=torch.float16)
    lengths = torch.tensor([[1e-4], [3e4]], dtype=torch.float16)  # the squares are 1e-8 and 9e8
    assert torch.equal(m.norm(zero, lengths), lengths.squeeze(-1))
    assert torch.equal(m.dist(zero, lengths), lengths.squeeze(-1))


def test_a_dimension_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Euclidean: expected an intrinsic dimension >= 1, but got dim=0"):
        Euclidean(0)
