"""RieSNE, COSNE and LargeVis: gradients of others, and clusters that stay together."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import squareform
from sklearn.manifold import TSNE, trustworthiness
from sklearn.manifold._t_sne import _kl_divergence
from torch import Tensor

from isometry.manifolds import (
    Euclidean,
    Lorentz,
    Manifold,
    PoincareBall,
    Scaled,
    ShapeError,
    SPDAffineInvariant,
    Sphere,
)
from isometry.trainers.neighbor_embedding import COSNE, LargeVis, RieSNE, heat_kernel_terms, joint_affinities
from isometry.trainers.neighbor_embedding.large_vis import _Sampler, contrast, neighbor_graph
from isometry.trainers.neighbor_embedding.rie_sne import divergence

TARGETS = [Euclidean(2), Scaled(Sphere(2), 10.0), PoincareBall(2, c=0.01), Lorentz(2, c=0.01)]


def clusters(manifold: Manifold, n: int = 90, classes: int = 3, spread: float = 0.3) -> tuple[Tensor, Tensor]:
    """Points around a few centres, and which."""
    generator = torch.Generator().manual_seed(1)
    options = {"generator": generator, "dtype": torch.float64}
    label = torch.arange(n) % classes
    centre = manifold.random(classes, *manifold.point_shape, **options)[label]
    step = manifold.proju(centre, torch.randn(centre.shape, **options))
    size = manifold.norm(centre, step).reshape(-1, *(1,) * manifold.ndim)
    length = spread * torch.rand(n, generator=generator, dtype=torch.float64).reshape(size.shape)
    return manifold.expmap(centre, length * step / size), label


def nearest_agree(manifold: Manifold, y: Tensor, label: Tensor) -> float:
    """The share of points whose nearest other has their label."""
    distances = manifold.dist(y.unsqueeze(1), y).fill_diagonal_(torch.inf)
    return float((label[distances.argmin(1)] == label).double().mean())


# --- Rie-SNE -------------------------------------------------------------------------------------------------


def test_in_the_plane_divergence_and_gradient_are_those_of_scikit_learn() -> None:
    x, _ = clusters(Euclidean(6))
    p = joint_affinities(*heat_kernel_terms(Euclidean(6), x, x), 12.0)
    y = torch.randn(90, 2, dtype=torch.float64, requires_grad=True)
    value = divergence(Euclidean(2), y, p)
    value.backward()
    condensed = np.maximum(squareform(p.numpy()), np.finfo(np.float64).eps)
    theirs, gradient = _kl_divergence(y.detach().numpy().ravel(), condensed, 1, 90, 2)
    assert value.item() == pytest.approx(theirs, rel=1e-9)
    assert torch.allclose(y.grad, torch.from_numpy(gradient.reshape(90, 2)), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_the_gradient_is_that_of_the_paper(target: Manifold) -> None:
    """``-4 sum_j (e p_ij - q_ij) f_ij log_(y_i) y_j``."""
    x, _ = clusters(Sphere(5), 30)
    p = joint_affinities(*heat_kernel_terms(Sphere(5), x, x), 8.0)
    y = target.random(30, *target.point_shape, dtype=torch.float64).requires_grad_()
    divergence(target, y, p, 4.0).backward()
    ours = target.egrad2rgrad(y.detach(), y.grad)
    y = y.detach()
    f = 1 / (1 + target.dist2(y.unsqueeze(1), y)).fill_diagonal_(torch.inf)
    force = (4 * p - f / f.sum()) * f
    # the inner product of Scaled is scale^2 times that of its sphere, its gradient 1/scale^2
    expected = -4 * (force.unsqueeze(-1) * target.logmap(y.unsqueeze(1), y)).sum(1)
    assert torch.allclose(ours, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_clusters_stay_together_on_every_target(target: Manifold) -> None:
    x, label = clusters(Sphere(6))
    method = RieSNE(Sphere(6), target, 12.0, steps=120)
    y = method.fit_transform(x)
    assert target.check_point_on_manifold(y)
    assert nearest_agree(target, y, label) == 1
    assert 0 < method.divergence < 1


def test_points_may_be_matrices() -> None:
    x, label = clusters(SPDAffineInvariant(3))
    y = RieSNE(SPDAffineInvariant(3), Euclidean(2), 12.0, steps=120).fit_transform(x.float())
    assert y.dtype == torch.float32
    assert nearest_agree(Euclidean(2), y, label) == 1


def test_it_reaches_what_t_sne_reaches() -> None:
    x, _ = clusters(Euclidean(6), 120, 4, spread=2.0)
    theirs = TSNE(2, perplexity=15, init="pca", method="exact", random_state=0).fit(x.numpy())
    ours = RieSNE(Euclidean(6), Euclidean(2), 15.0, steps=500)
    y = ours.fit_transform(x)
    assert ours.divergence < 1.1 * theirs.kl_divergence_
    assert trustworthiness(x.numpy(), y.numpy()) > trustworthiness(x.numpy(), theirs.embedding_) - 0.01


def test_it_is_deterministic_and_refuses_matrices_as_targets() -> None:
    x, _ = clusters(Sphere(3), 30)
    first, second = (RieSNE(Sphere(3), Euclidean(2), 5.0, steps=20).fit_transform(x) for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(ShapeError, match="expected a manifold of vectors"):
        RieSNE(Sphere(3), SPDAffineInvariant(2), 5.0).fit_transform(x)


# --- CO-SNE --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [PoincareBall(5), Lorentz(5, c=2.0)], ids=repr)
def test_depth_is_kept_with_the_weight_and_not_without(source: PoincareBall | Lorentz) -> None:
    x, label = clusters(source)
    disk = PoincareBall(2)
    depth = float(source.c) ** 0.5 * source.dist(source.origin(*source.point_shape, dtype=x.dtype), x)
    errors = []
    for weight in (0.0, 10.0):
        y = COSNE(source, 12.0, radius_weight=weight, steps=150).fit_transform(x)
        assert disk.check_point_on_manifold(y)
        errors.append(float((disk.dist(torch.zeros(2, dtype=y.dtype), y) - depth).abs().mean()))
    assert errors[1] < errors[0] / 4
    assert nearest_agree(disk, y, label) > 0.95


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scale > 0 and radius_weight >= 0, but got 0\.0 and 1\.0"):
        COSNE(PoincareBall(3), scale=0.0)
    with pytest.raises(ValueError, match="epochs and num_negatives of at least 1, but got 0 and 5"):
        LargeVis(Euclidean(3), Euclidean(2), epochs=0)


# --- LargeVis ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS[:3], ids=repr)
def test_large_vis_keeps_clusters_on_every_target(target: Manifold) -> None:
    x, label = clusters(Sphere(6), 60)
    y = LargeVis(Sphere(6), target, 6.0, epochs=200, gamma=1.0, lr=0.3).fit_transform(x)
    assert target.check_point_on_manifold(y)
    assert nearest_agree(target, y, label) > 0.95


def test_with_all_neighbours_the_graph_is_the_joint_affinities() -> None:
    x, _ = clusters(Sphere(6), 25)
    edges, weights = neighbor_graph(Sphere(6), x, 8.0)
    dense = torch.zeros(25, 25, dtype=torch.float64).index_put(tuple(edges.T), weights)
    assert torch.allclose(dense, joint_affinities(*heat_kernel_terms(Sphere(6), x, x), 8.0), atol=1e-14)
    edges, weights = neighbor_graph(Sphere(6), x, 3.0)
    assert weights.sum().item() == pytest.approx(1)
    assert edges[:, 0].bincount().min() >= 9


def test_the_loss_is_the_papers_and_its_slopes_are_clipped() -> None:
    dist = torch.tensor([[2.0, 0.5, 3.0]], dtype=torch.float64, requires_grad=True)
    f = 1 / (1 + dist.detach().square())
    value = contrast(dist, 7.0)
    assert value.item() == pytest.approx(float(-f[0, 0].log() - 7 * (1 - f[0, 1:]).log().sum()))
    value.backward()
    slopes = [2 * 2.0 / 5, -5.0, -7 * 2 / (3 * 10)]  # at 0.5 it would be -22.4
    assert dist.grad[0].tolist() == pytest.approx(slopes)


def test_draws_are_in_proportion_to_weights() -> None:
    weights = torch.tensor([0.0, 1.0, 5.0, 0.0, 2.0, 2.0, 0.0])
    draws = _Sampler(weights, torch.Generator().manual_seed(0))(20_000)
    counts, expected = draws.bincount(minlength=7), 20_000 * weights / weights.sum()
    assert not counts[weights == 0].any()
    chi2 = ((counts - expected).square() / expected)[weights > 0].sum()
    assert chi2 < 16.3  # 1 in 1,000 with 3 degrees of freedom
