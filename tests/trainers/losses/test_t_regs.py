import math

import geoopt
import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from isometry.manifolds import Euclidean, Lorentz, Manifold, PoincareBall, Product, SPDAffineInvariant, Sphere
from isometry.trainers.losses import TREGSLoss, simplex_length, spanning_tree_length
from isometry.trainers.optim import RiemannianSGD

MANIFOLDS: list[Manifold] = [
    Euclidean(3),
    Sphere(3),
    PoincareBall(3, 0.7),
    Lorentz(3),
    SPDAffineInvariant(3),
    Product([Sphere(2), Euclidean(2)]),
]


def points(manifold: Manifold, n: int) -> Tensor:
    return manifold.random(n, *manifold.point_shape, dtype=torch.float64)


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
def test_it_is_the_length_of_scipys_tree(manifold: Manifold) -> None:
    x = points(manifold, 25)
    expected = minimum_spanning_tree(manifold.dist(x.unsqueeze(1), x.unsqueeze(0)).fill_diagonal_(0).numpy()).sum()
    assert spanning_tree_length(manifold, x).item() == pytest.approx(expected, rel=1e-12)
    assert TREGSLoss(manifold)(x).item() == pytest.approx(-expected / 25, rel=1e-12)
    assert spanning_tree_length(manifold, x[torch.randperm(25)]).item() == pytest.approx(expected, rel=1e-12)


def test_the_radius_is_a_soft_constraint() -> None:
    x = torch.randn(20, 4, dtype=torch.float64)
    radii = np.linalg.norm(x.numpy(), axis=1)
    expected = -minimum_spanning_tree(squareform(pdist(x.numpy()))).sum() / 20 + 3 * np.mean((radii - 1) ** 2)
    assert TREGSLoss(Euclidean(4), 3.0)(x).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("manifold", [Euclidean(3), Sphere(3), Lorentz(3)], ids=repr)
def test_isometries_leave_it_as_it_is(manifold: Sphere | Lorentz | Euclidean) -> None:
    x = points(manifold, 12)
    g = manifold.random_isometry(dtype=torch.float64)
    torch.testing.assert_close(
        spanning_tree_length(manifold, manifold.act(g, x)), spanning_tree_length(manifold, x), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("manifold", [Euclidean(3), PoincareBall(3), SPDAffineInvariant(2)], ids=repr)
def test_derivatives_are_those_of_finite_differences(manifold: Manifold) -> None:
    x = points(manifold, 8).requires_grad_()

    def loss(v: Tensor) -> Tensor:
        return TREGSLoss(manifold, 0.5)((v + v.mT) / 2 if manifold.ndim == 2 else v)

    assert torch.autograd.gradcheck(loss, x)


def test_equal_points_have_finite_derivatives() -> None:
    for manifold in (Sphere(3), PoincareBall(3)):
        x = points(manifold, 1).expand(6, -1).clone().requires_grad_()
        loss = TREGSLoss(manifold)(x)
        assert loss == 0
        assert torch.autograd.grad(loss, x)[0].isfinite().all()


@pytest.mark.parametrize(("count", "dim"), [(10, 4), (10, 30), (300, 3)])
def test_no_points_of_the_sphere_exceed_the_simplex(count: int, dim: int) -> None:
    for scale in (0.1, 1.0):
        x = scale * torch.randn(count, dim, dtype=torch.float64)
        x = Sphere(dim - 1).projx(x + torch.eye(dim, dtype=torch.float64)[torch.arange(count) % dim])
        assert spanning_tree_length(Euclidean(dim), x) < simplex_length(count)
    assert simplex_length(2) == 2


def ascend(manifold: Manifold, x: Tensor, steps: int, rate: float) -> Tensor:
    sphere = Sphere(x.shape[-1] - 1)
    x = geoopt.ManifoldParameter(x, manifold=sphere)
    optimizer = RiemannianSGD([x], lr=rate)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.01 ** (1 / steps))
    for _ in range(steps):
        optimizer.zero_grad()
        TREGSLoss(manifold)(x).backward()
        optimizer.step()
        decay.step()
    return x.detach()


@pytest.mark.parametrize("manifold", [Euclidean(3), Sphere(2)], ids=["chords", "arcs"])
def test_its_descent_ends_at_the_simplex(manifold: Manifold) -> None:
    """Welch: the cosines of a regular simplex are -1/(n - 1)."""
    x = ascend(manifold, points(Sphere(2), 4), 300, 0.3)
    cosines = (x @ x.mT)[~torch.eye(4, dtype=torch.bool)]
    torch.testing.assert_close(cosines, torch.full_like(cosines, -1 / 3), rtol=0, atol=0.02)
    bound = simplex_length(4) if manifold.dim == 3 else 3 * math.acos(-1 / 3)
    assert bound - 0.01 < spanning_tree_length(manifold, x).item() < bound


def test_its_descent_recovers_from_a_collapse() -> None:
    angle = 0.1 * torch.randn(40, dtype=torch.float64)
    line = torch.stack([angle.cos(), angle.sin()], 1)
    x = Sphere(7).projx(torch.cat([line, 1e-3 * torch.randn(40, 6, dtype=torch.float64)], 1))

    def participation(v: Tensor) -> float:
        values = torch.linalg.svdvals(v - v.mean(0)).square()
        return float(values.sum().square() / values.square().sum())

    assert participation(x) < 1.01
    assert participation(ascend(Sphere(7), x, 200, 2.0)) > 5


def test_its_growth_tells_the_dimension() -> None:
    """Steele 1988: the length of n uniform points of the square grows as ``n^(1/2)``."""
    sizes = [100, 400, 1600]
    lengths = [spanning_tree_length(Euclidean(2), torch.rand(n, 2)).log() for n in sizes]
    slope = np.polyfit(np.log(sizes), torch.stack(lengths).numpy(), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.03)


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match=r"TREGSLoss: expected a finite radius_weight >= 0, but got -1\.0"):
        TREGSLoss(Euclidean(2), -1.0)
    with pytest.raises(ValueError, match="TREGSLoss: expected at least 2 points, but got 1"):
        TREGSLoss(Euclidean(2))(torch.randn(1, 2))
    with pytest.raises(ValueError, match="simplex_length: expected at least 2 points, but got 1"):
        simplex_length(1)
    with pytest.raises(ValueError, match="expected finite distances"):
        TREGSLoss(Euclidean(2))(torch.full((3, 2), math.nan))
