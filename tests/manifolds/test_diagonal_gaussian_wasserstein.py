"""The Wasserstein metric of diagonal normals against optimal transport, and what happens at its edge."""

import numpy as np
import pytest
import torch
from scipy import integrate, linalg, stats

from isometry.manifolds import Checked, DiagonalGaussianWasserstein, OffManifoldError

M = DiagonalGaussianWasserstein(2)


def test_distance_is_the_cost_of_the_optimal_transport() -> None:
    """In one dimension the optimal plan matches quantiles: ``W^2 = int_0^1 (F^-1 - G^-1)^2``."""
    m = DiagonalGaussianWasserstein(1)
    for (mean, std), (mean2, std2) in [((0.0, 1.0), (3.0, 1.0)), ((-1.0, 0.2), (0.5, 2.0))]:
        f, g = stats.norm(mean, std), stats.norm(mean2, std2)
        cost, _ = integrate.quad(lambda t, f=f, g=g: (f.ppf(t) - g.ppf(t)) ** 2, 0, 1)
        x, y = (torch.tensor([[a], [s]], dtype=torch.float64) for a, s in ((mean, std), (mean2, std2)))
        assert m.dist2(x, y).item() == pytest.approx(cost, rel=1e-6)


def test_distance_is_bures_for_diagonal_covariances() -> None:
    """``|m - n|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)``."""
    x, y = M.random(2, 2, 2, dtype=torch.float64)
    a, b = np.diag(x[1].numpy() ** 2), np.diag(y[1].numpy() ** 2)
    root = linalg.sqrtm(a)
    bures = np.trace(a + b - 2 * linalg.sqrtm(root @ b @ root))
    expected = float((x[0] - y[0]).square().sum()) + float(bures.real)
    assert M.dist2(x, y).item() == pytest.approx(expected, rel=1e-12)


def test_a_geodesic_ends_at_the_edge() -> None:
    x = torch.tensor([[0.0, 1.0], [1.0, 0.5]], requires_grad=True)
    u = torch.tensor([[1.0, 1.0], [-0.9, -0.5]])
    y = M.expmap(x, u)
    assert y[:, 0].tolist() == pytest.approx([1.0, 0.1])
    assert y[:, 1].isnan().all()
    assert not M.check_point_on_manifold(y.detach())
    with pytest.raises(OffManifoldError, match=r"expmap: result: 2 of 4 numbers are NaN"):
        Checked(M).expmap(x, u)
    (gradient,) = torch.autograd.grad(y[:, 0].sum(), x)
    assert gradient.tolist() == [[1.0, 0.0], [1.0, 0.0]]  # the variable that left spoils no other


@pytest.mark.parametrize("fall", [1e-3, 0.5, 1.0, 30.0, 1e6])
def test_the_retraction_stays_inside_and_goes_on_falling(fall: float) -> None:
    x = M.random(20, 2, 2, dtype=torch.float64)
    down = torch.stack([torch.zeros_like(x[:, 0]), -fall * x[:, 1]], 1)
    y = Checked(M).retr(x, down)
    assert (y[:, 1] < x[:, 1]).all()
    assert (y[:, 1] > M.retr(x, 1.01 * down)[:, 1]).all()
    up = M.retr(x, -down)
    assert torch.equal(up, M.expmap(x, -down))


def test_the_barycentre_is_that_of_gaussians() -> None:
    """The Wasserstein barycentre averages quantile functions, so means and deviations."""
    x, w = M.random(3, 7, 2, 2, dtype=torch.float64), torch.rand(3, 7, dtype=torch.float64)
    mean = M.frechet_mean(x, w)
    share = (w / w.sum(-1, keepdim=True))[..., None, None]
    gradient = (share * M.logmap(mean.unsqueeze(1), x)).sum(1)
    assert gradient.abs().max() < 1e-15
    torch.testing.assert_close(M.frechet_mean(x), x.mean(1))
    levels = np.linspace(0.01, 0.99, 9)
    quantiles = [stats.norm(float(a), float(s)).ppf(levels) for a, s in zip(x[0, :, 0, 0], x[0, :, 1, 0], strict=True)]
    expected = np.tensordot(share[0, :, 0, 0].numpy(), np.stack(quantiles), 1)
    np.testing.assert_allclose(stats.norm(float(mean[0, 0, 0]), float(mean[0, 1, 0])).ppf(levels), expected, rtol=1e-12)


def test_random_points_are_as_documented() -> None:
    x = M.random(20_000, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert stats.kstest(x[:, 0].flatten().numpy(), stats.norm.cdf).pvalue > 1e-3
    assert stats.kstest(x[:, 1].log2().flatten().numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("gap", [1e-12, 1e-6])
def test_close_pairs_are_exact(gap: float) -> None:
    """Bures' trace formula cancels: it loses all digits here."""
    x = torch.tensor([[0.3, 1.0], [0.7, 2.0]], dtype=torch.float64)
    y = x.clone()
    y[1, 0] += gap
    assert M.dist(x, y) == y[1, 0] - x[1, 0]


@pytest.mark.peers
def test_agrees_with_geomstats() -> None:
    np.trapz = np.trapezoid  # which geomstats asks for, and numpy 2 renamed
    from geomstats.geometry.spd_matrices import SPDBuresWassersteinMetric, SPDMatrices

    metric = SPDBuresWassersteinMetric(SPDMatrices(2, equip=False))
    x, y = M.random(2, 20, 2, 2, dtype=torch.float64)
    x, y = (torch.stack([torch.zeros_like(p[:, 0]), p[:, 1]], 1) for p in (x, y))  # centred: covariances alone
    theirs = metric.dist(*(torch.diag_embed(p[:, 1] ** 2).numpy() for p in (x, y)))
    np.testing.assert_allclose(M.dist(x, y).numpy(), theirs, rtol=1e-6, atol=1e-7)
