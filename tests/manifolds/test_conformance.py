"""Every manifold passes the conformance suite; a new one joins with one line."""

import math

import geoopt
import pytest
import torch

from isometry.manifolds import Checked, Circle, Euclidean, Lorentz, PoincareBall, Product, Scaled, Sphere, Torus
from isometry.manifolds.testing import Case, ManifoldSuite, assert_on_manifold, assert_small
from isometry.trainers import optim

SGD = [geoopt.optim.RiemannianSGD, optim.RiemannianSGD]
ADAM = [geoopt.optim.RiemannianAdam, optim.RiemannianAdam]


def hyperbolic(manifold: PoincareBall | Lorentz | Product | Scaled | Checked, radius: float = 1.0) -> Case:
    """Rounding the coordinates of a point at distance r moves it by eps sinh(r), and steps lead one unit further."""
    return Case(manifold, radius=radius, cond=16 * math.exp(radius + 1))


MANIFOLDS = [
    Euclidean(1),
    Euclidean(3),
    Sphere(1),
    Sphere(4),
    Case(Sphere(2), reach=0.9 * math.pi, cond=160.0),  # near the cut locus, where r/sin(r) = 9
    Circle(),
    Torus(3),
    hyperbolic(PoincareBall(1)),
    hyperbolic(PoincareBall(3)),
    hyperbolic(PoincareBall(2, c=0.37), radius=4.0),
    hyperbolic(PoincareBall(3, c=0.37, learnable=True)),
    hyperbolic(PoincareBall(3, upcast=False)),
    hyperbolic(Lorentz(1)),
    hyperbolic(Lorentz(3)),
    hyperbolic(Lorentz(2, c=0.37), radius=4.0),
    hyperbolic(Lorentz(3, c=0.37, learnable=True)),
    hyperbolic(Lorentz(3, upcast=False)),
    Product([Torus(2), Euclidean(1)]),
    hyperbolic(Product([Sphere(2), PoincareBall(2, c=0.5, learnable=True), Euclidean(1)])),
    Case(Scaled(Sphere(2), 3.0), cond=48.0),  # distances are 3 times those of the coordinates
    hyperbolic(Scaled(Lorentz(2), 2.0)),
    Checked(Sphere(2)),
    hyperbolic(Checked(Product([Scaled(Torus(2), 1.5), Lorentz(2, c=0.7, learnable=True)]))),
]


class TestManifolds(ManifoldSuite):
    manifolds = MANIFOLDS

    @pytest.mark.parametrize("optimizer", SGD)
    def test_gradient_descent_halves_the_distance(self, case: Case, optimizer: type) -> None:
        """On ``d^2``, whose gradient is ``-2 log``, a step of rate 1/4 halves d, up to d^3 (retractions)."""
        m, (x, y) = case.manifold, case.pair(torch.float64)
        point = geoopt.ManifoldParameter(x.clone(), manifold=m)
        opt = optimizer([point], lr=0.25)
        distances = []
        for _ in range(20):
            opt.zero_grad()
            distances.append(m.dist(point, y).detach())
            m.dist2(point, y).sum().backward()
            opt.step()
        assert_on_manifold(m, point, atol=case.bound(x.dtype))
        before, after = distances[-2:]
        bound = case.bound(x.dtype) / float(before.min()) + float(before.max()) ** 2
        assert_small(after / before - 0.5, bound, "factor of the distance")
        assert_small(before, 1e-4 * case.reach, "distance after 18 steps")

    @pytest.mark.parametrize("optimizer", ADAM)
    def test_adam_arrives_and_stays_on_the_manifold(self, case: Case, optimizer: type) -> None:
        x, y = case.pair(torch.float32)
        point = geoopt.ManifoldParameter(x.clone(), manifold=case.manifold)
        opt = optimizer([point], lr=0.05 * case.reach)
        for _ in range(60):
            opt.zero_grad()
            case.manifold.dist2(point, y).sum().backward()
            opt.step()
        assert_on_manifold(case.manifold, point, atol=case.bound(x.dtype))
        assert_small(case.manifold.dist(point, y), 0.25 * case.reach, "distance from the minimum")
