"""Affinities beside scikit-learn's, and in curved spaces."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import squareform
from sklearn.manifold._t_sne import _joint_probabilities

from isometry.manifolds import (
    Euclidean,
    Lorentz,
    Manifold,
    OffManifoldError,
    PoincareBall,
    Product,
    SPDBuresWasserstein,
    Sphere,
)
from isometry.trainers.neighbor_embedding import (
    RieSNE,
    conditional_affinities,
    heat_kernel_terms,
    joint_affinities,
)

CURVED = [Sphere(4), Lorentz(3), PoincareBall(3, c=0.4), Product([Sphere(2), PoincareBall(2)])]


def points(manifold: Manifold, n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return manifold.random(n, *manifold.point_shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("perplexity", [5.0, 30.0])
def test_in_flat_space_they_are_those_of_scikit_learn(perplexity: float) -> None:
    x = points(Euclidean(7), 150)
    terms = heat_kernel_terms(Euclidean(7), x, x)
    assert not terms[1].any()
    dist2 = (x.unsqueeze(1) - x).square().sum(-1).numpy().astype(np.float32)
    theirs = squareform(_joint_probabilities(dist2, perplexity, 0))
    ours = joint_affinities(*terms, perplexity)
    # scikit-learn stops its search where the entropy is right to 1e-5
    assert np.abs(ours.numpy() - theirs).max() < 1e-4 * theirs.max()
    assert ours.sum().item() == pytest.approx(1)
    assert torch.equal(ours, ours.T)


@pytest.mark.parametrize("manifold", [*CURVED, SPDBuresWasserstein(3)], ids=repr)
def test_every_row_has_the_perplexity(manifold: Manifold) -> None:
    x = points(manifold, 60)
    dist2, log_h0 = heat_kernel_terms(manifold, x, x)
    p = conditional_affinities(dist2.fill_diagonal_(torch.inf), log_h0, 10.0)
    assert torch.allclose(p.sum(1), torch.ones(60, dtype=torch.float64))
    assert torch.allclose(-torch.special.xlogy(p, p).sum(1), torch.tensor(math.log(10.0)).double(), atol=1e-12)
    assert not p.diagonal().any()


@pytest.mark.parametrize("manifold", CURVED, ids=repr)
def test_isometries_change_nothing(manifold: Manifold) -> None:
    x = points(manifold, 40)
    y = manifold.act(manifold.random_isometry(dtype=torch.float64), x)
    first, second = (joint_affinities(*heat_kernel_terms(manifold, z, z), 8.0) for z in (x, y))
    assert torch.allclose(first, second, rtol=1e-9, atol=0)


def test_the_leading_term_on_spheres_and_hyperbolic_spaces() -> None:
    for manifold, ratio in ((Sphere(5), lambda d: d / d.sin()), (Lorentz(5), lambda d: d / d.sinh())):
        x = points(manifold, 12)
        dist2, log_h0 = heat_kernel_terms(manifold, x[:3], x[3:])
        assert torch.allclose(log_h0, 2 * ratio(dist2.sqrt()).log(), rtol=1e-9, atol=1e-12)


def test_it_is_the_heat_kernel_of_three_dimensional_hyperbolic_space() -> None:
    """There it is known: ``(4 pi s)^(-3/2) d/sinh d exp(-s - d^2/4s)`` at ``s = t/2``; exp(-s) is all rows'."""
    x = points(Lorentz(3), 12)
    dist2, log_h0 = heat_kernel_terms(Lorentz(3), x[:1], x[1:])
    d, t = dist2.sqrt(), 0.3
    kernel = (2 * math.pi * t) ** -1.5 * d / d.sinh() * (-t / 2 - d.square() / (2 * t)).exp()
    ours = (log_h0 - dist2 / (2 * t)).softmax(1)
    assert torch.allclose(ours, kernel / kernel.sum(), rtol=1e-9)


def test_antipodes_have_a_bounded_leading_term() -> None:
    x = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    dist2, log_h0 = heat_kernel_terms(Sphere(2), x, x)
    assert dist2[0, 1].item() == pytest.approx(math.pi**2)
    assert log_h0[0, 1] == 2
    assert log_h0[0, 2].item() == pytest.approx(0.5 * math.log(math.pi / 2))


def test_points_that_coincide_are_equally_near() -> None:
    x = torch.zeros(10, 2, dtype=torch.float64)
    p = joint_affinities(*heat_kernel_terms(Euclidean(2), x, x), 3.0)
    assert torch.allclose(p, (1 - torch.eye(10).double()) / 90)


def test_bad_input_is_named() -> None:
    x = points(Euclidean(2), 10)
    with pytest.raises(ValueError, match=r"between 1 and the number of others, 9, but got 30\.0"):
        joint_affinities(*heat_kernel_terms(Euclidean(2), x, x), 30.0)
    x[3] = torch.nan
    with pytest.raises(OffManifoldError):
        RieSNE(Euclidean(2), Euclidean(2), 3.0).fit_transform(x)
    with pytest.raises(ValueError, match="is NaN; are the points on the manifold"):
        joint_affinities(*heat_kernel_terms(Euclidean(2), x, x), 3.0)
