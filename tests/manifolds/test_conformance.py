"""Every manifold passes the conformance suite; a new one joins with one line."""

import math

import geoopt
import pytest
import torch

from isometry.manifolds import (
    Checked,
    Circle,
    CorrelationOffLog,
    DiagonalGaussian,
    DiagonalGaussianWasserstein,
    Euclidean,
    Grassmann,
    Lorentz,
    Manifold,
    Oblique,
    PoincareBall,
    PowerDeformed,
    Product,
    RealView,
    Scaled,
    SPDAffineInvariant,
    SPDBuresWasserstein,
    SPDGeneralizedBuresWasserstein,
    SPDLogCholesky,
    SPDLogEuclidean,
    SpecialOrthogonal,
    SpecialUnitary,
    Sphere,
    StiefelCanonical,
    StiefelEuclidean,
    Torus,
)
from isometry.manifolds.testing import Case, ManifoldSuite, assert_on_manifold, assert_small
from isometry.trainers import optim

SGD = [geoopt.optim.RiemannianSGD, optim.RiemannianSGD]
ADAM = [geoopt.optim.RiemannianAdam, optim.RiemannianAdam]


def hyperbolic(manifold: Manifold, radius: float = 1.0) -> Case:
    """Rounding the coordinates of a point at distance r moves it by eps sinh(r), and steps lead one unit further."""
    return Case(manifold, radius=radius, cond=16 * math.exp(radius + 1))


def spd(manifold: Manifold, radius: float = 1.0) -> Case:
    """A point at distance r from I has condition e^(sqrt(2) r), by which the rounding of its entries moves it."""
    return Case(manifold, radius=radius, cond=16 * math.exp(math.sqrt(2) * (radius + 1)))


def bures(manifold: Manifold, scale: float = 1.0, condition: float = 1.0) -> Case:
    """Within 1/2 of the base point roots of eigenvalues are in (1/2, 3/2); no step of 1/5 leads out of the cone."""
    return Case(manifold, radius=0.5 * scale, reach=0.2 * scale, cond=16 * 9 * condition)


MANIFOLDS = [
    Euclidean(3),
    Sphere(4),
    Case(Sphere(2), reach=0.9 * math.pi, cond=160.0),  # near the cut locus, where r/sin(r) = 9
    Circle(),
    Torus(3),
    hyperbolic(PoincareBall(3)),
    hyperbolic(PoincareBall(2, c=0.37), radius=4.0),
    hyperbolic(PoincareBall(3, c=0.37, learnable=True)),
    hyperbolic(PoincareBall(3, upcast=False)),
    hyperbolic(Lorentz(3)),
    hyperbolic(Lorentz(2, c=0.37), radius=4.0),
    hyperbolic(Lorentz(3, c=0.37, learnable=True)),
    hyperbolic(Lorentz(3, upcast=False)),
    hyperbolic(DiagonalGaussian(3)),
    Case(DiagonalGaussianWasserstein(2), reach=0.4),  # steps stay inside: the points have sigma > 1/2
    spd(SPDAffineInvariant(3)),
    spd(SPDLogEuclidean(3)),
    spd(CorrelationOffLog(3)),
    spd(SPDLogCholesky(3)),
    bures(SPDBuresWasserstein(3)),
    bures(SPDGeneralizedBuresWasserstein(2, M=[[2.0, 0.5], [0.5, 1.0]], learnable=True), condition=2.7),
    bures(PowerDeformed(SPDBuresWasserstein(2), 0.5), scale=2.0),
    Product([Torus(2), Euclidean(1)]),
    hyperbolic(Product([Sphere(2), PoincareBall(2, c=0.5, learnable=True), Euclidean(1)])),
    Case(Scaled(Sphere(2), 3.0), cond=48.0),  # distances are 3 times those of the coordinates
    hyperbolic(Scaled(Lorentz(2), 2.0)),
    Checked(Sphere(2)),
    hyperbolic(Checked(Product([Scaled(Torus(2), 1.5), Lorentz(2, c=0.7, learnable=True)]))),
    Grassmann(5, 2),
    Case(Grassmann(3, 1), reach=0.95 * math.pi / 2),  # near the cut locus, where only log jumps
    StiefelCanonical(5, 2),
    StiefelEuclidean(3, 2),
    SpecialOrthogonal(3),
    Case(SpecialOrthogonal(3), reach=0.95 * math.sqrt(2) * math.pi),  # near the cut locus, where only log jumps
    RealView(SpecialUnitary(2)),
    Oblique(3, 2),
]
# Other sizes, settings and distances of the same classes.
MORE_MANIFOLDS = [
    Euclidean(1),
    Sphere(1),
    hyperbolic(PoincareBall(1)),
    hyperbolic(Lorentz(1)),
    hyperbolic(DiagonalGaussian(1)),
    hyperbolic(DiagonalGaussian(2), radius=4.0),
    spd(SPDAffineInvariant(1)),
    spd(SPDAffineInvariant(2), radius=3.0),
    spd(SPDAffineInvariant(3, upcast=False)),
    spd(SPDLogEuclidean(1)),
    spd(SPDLogEuclidean(2, upcast=False)),
    spd(CorrelationOffLog(2)),
    spd(SPDLogCholesky(1)),
    spd(SPDLogCholesky(2, upcast=False)),
    bures(SPDBuresWasserstein(1)),
    bures(SPDBuresWasserstein(2, upcast=False)),
    bures(SPDGeneralizedBuresWasserstein(2, M=[[2.0, 0.5], [0.5, 1.0]]), condition=2.7),  # that of M
    spd(PowerDeformed(SPDAffineInvariant(2), -0.5)),
    Case(Grassmann(4, 3), cond=64.0),  # the gradient of 12 coordinates may be 4 times as long as its 3 tangent ones
    Case(StiefelCanonical(4, 3), cond=64.0),  # second derivatives of exponentials of size 2k = 6
    Case(StiefelCanonical(4, 2), reach=2.5, cond=160.0),  # near the conjugate locus, where dexp is 10 times as small
    StiefelEuclidean(5, 2),
    SpecialOrthogonal(2),
    SpecialOrthogonal(5),
    RealView(SpecialUnitary(3)),
]


class Suite(ManifoldSuite):
    """The kit, and what optimizers make of the manifold."""

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


class TestManifolds(Suite):
    manifolds = MANIFOLDS


@pytest.mark.slow
class TestMoreManifolds(Suite):
    manifolds = MORE_MANIFOLDS
