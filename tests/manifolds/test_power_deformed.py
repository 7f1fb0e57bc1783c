"""Power deformations: at exponent 1 nothing changes, at 0 they are flat in the logarithm, in between the definition."""

import math

import pytest
import torch
from torch import Tensor

from isometry.manifolds import (
    PowerDeformed,
    SPDAffineInvariant,
    SPDBuresWasserstein,
    SPDGeneralizedBuresWasserstein,
    SPDLogCholesky,
    SPDLogEuclidean,
    Sphere,
)
from isometry.manifolds._spd import SPD
from isometry.manifolds.testing import assert_isometry, assert_small
from tests.manifolds.reference_spd import (
    MP,
    AffineInvariant,
    BuresWasserstein,
    Geometry,
    Matrix,
    Real,
    derivative,
    function,
    matrix,
    size,
)
from tests.manifolds.spd_cases import pair, spd

N = 4
EPS = torch.finfo(torch.float64).eps
BASES = [
    SPDAffineInvariant(N),
    SPDLogEuclidean(N),
    SPDLogCholesky(N),
    SPDBuresWasserstein(N),
    SPDGeneralizedBuresWasserstein(N, M=spd(10.0, 77, N)),
]
on_each_base = pytest.mark.parametrize("base", BASES, ids=lambda m: type(m).__name__)


class Deformed(Geometry):
    """``<D power[u], D power[v]>_(x^theta) / theta^2``."""

    def __init__(self, base: Geometry, theta: float) -> None:
        self.base, self.theta = base, MP.convert(theta)

    def power(self, x: Matrix) -> Matrix:
        """``x^theta``."""
        return function(x, lambda value: value**self.theta)

    def root(self, x: Matrix) -> Matrix:
        """``x^(1/theta)``."""
        return function(x, lambda value: value ** (1 / self.theta))

    def inner(self, x: Matrix, u: Matrix, v: Matrix) -> Real:
        image = [derivative(self.power, x, w) for w in (u, v)]
        return self.base.inner(self.power(x), *image) / self.theta**2

    def dist(self, x: Matrix, y: Matrix) -> Real:
        return self.base.dist(self.power(x), self.power(y)) / abs(self.theta)

    def logmap(self, x: Matrix, y: Matrix) -> Matrix:
        image = self.power(x)
        return derivative(self.root, image, self.base.logmap(image, self.power(y)))

    def expmap(self, x: Matrix, u: Matrix) -> Matrix:
        return self.root(self.base.expmap(self.power(x), derivative(self.power, x, u)))


def symmetric(*shape: int) -> Tensor:
    z = torch.randn(*shape, dtype=torch.float64)
    return (z + z.mT) / 2


@pytest.mark.parametrize("theta", [0.5, -0.5, 2.0, 1e-2])
@pytest.mark.parametrize(("cond", "separation"), [(10.0, 1e-6), (1e4, 1e-6), (1e4, 0.1), (1e4, None)])
def test_bures_wasserstein_distance_and_gradient(theta: float, cond: float, separation: float | None) -> None:
    """Close pairs keep their relative accuracy, as the images' difference is computed from the points'."""
    m, reference = PowerDeformed(SPDBuresWasserstein(N), theta), Deformed(BuresWasserstein(), theta)
    for seed in range(2):
        x, y = pair(cond, separation, seed, N)
        expected = reference.dist(matrix(x), matrix(y))
        for p in (x, x.clone().requires_grad_()):
            assert abs(float(m.dist(p, y).detach()) - expected) <= 1e-12 * expected
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(m.dist(x, y), x)
    slope = reference.dist_egrad(matrix(x.detach()), matrix(y))
    worst = max(cond, cond**theta) / min(1, abs(theta))
    assert size(matrix(gradient) - slope) <= 200 * worst * EPS * size(slope)


@pytest.mark.parametrize("theta", [0.5, -0.5])
@pytest.mark.parametrize(
    ("base", "reference"),
    [(SPDBuresWasserstein(N), BuresWasserstein()), (SPDAffineInvariant(N), AffineInvariant())],
    ids=["BuresWasserstein", "AffineInvariant"],
)
def test_metric_exp_and_log(base: SPD, reference: Geometry, theta: float) -> None:
    m, reference = PowerDeformed(base, theta), Deformed(reference, theta)
    x, y = pair(10.0, None, 1, N)
    u, v = 0.2 * m.logmap(x, y), symmetric(N, N)
    a, b, du, dv = (matrix(z) for z in (x, y, u, v))
    length = reference.norm(a, dv)
    assert abs(float(m.dist(x, y)) / reference.dist(a, b) - 1) <= 1e-13
    assert abs(float(m.inner(x, u, v)) - reference.inner(a, du, dv)) <= 1e-13 * length
    assert reference.norm(a, matrix(m.logmap(x, y)) - reference.logmap(a, b)) <= 1e-13 * reference.dist(a, b)
    assert size(matrix(m.expmap(x, u)) - reference.expmap(a, du)) <= 1e-12 * size(a)
    assert m.parallel
    w = m.transp(x, y, v)
    assert_small(m.norm(y, w) / m.norm(x, v) - 1, 1e-12, "length of the transported vector")
    assert_small(m.norm(y, m.transp(x, y, m.logmap(x, y)) + m.logmap(y, x)), 1e-12, "transported velocity")


@on_each_base
def test_at_exponent_one_it_is_the_geometry(base: SPD) -> None:
    m = PowerDeformed(base, 1.0)
    x, y = base.random(2, 6, N, N, dtype=torch.float64)
    v = symmetric(6, N, N)
    for operation in (
        lambda g: g.dist(x, y),
        lambda g: g.logmap(x, y),
        lambda g: g.inner(x, v),
        lambda g: g.retr(x, 0.1 * v),
        lambda g: g.transp(x, y, v),
        lambda g: g.egrad2rgrad(x, v),
        lambda g: g.frechet_mean(x),
        lambda g: g.geodesic(0.3, x, y),
        lambda g: g.origin(N, N, dtype=torch.float64),
    ):
        torch.testing.assert_close(operation(m), operation(base), rtol=1e-12, atol=1e-12)


@on_each_base
def test_towards_exponent_zero_it_is_flat_in_the_logarithm(base: SPD) -> None:
    """Distances tend to ``|log x - log y|`` in the norm of the tangent space at I, with an error of order theta."""
    x, y = base.random(2, 6, N, N, dtype=torch.float64)
    flat, eye = SPDLogEuclidean(N), torch.eye(N, dtype=torch.float64)
    log = flat.logmap(eye, y) - flat.logmap(eye, x)
    limit = base.norm(eye, log)
    if type(base) is SPDBuresWasserstein:
        torch.testing.assert_close(limit, flat.dist(x, y) / 2)
    if type(base) is SPDAffineInvariant:
        torch.testing.assert_close(limit, flat.dist(x, y))
    errors = [(PowerDeformed(base, theta).dist(x, y) / limit - 1).abs().max() for theta in (1e-2, 1e-4)]
    assert errors[0] < 2e-2
    assert errors[1] < 2e-4


def test_the_power_is_an_isometry_up_to_its_exponent() -> None:
    base = SPDBuresWasserstein(N)
    m = PowerDeformed(base, 2.0)
    x, y = base.random(2, 10, N, N, dtype=torch.float64)
    torch.testing.assert_close(m.dist(x, y), base.dist(x @ x, y @ y) / 2, rtol=1e-12, atol=1e-12)
    inverted = PowerDeformed(SPDAffineInvariant(N), -1.0)  # the inverse is an isometry of the affine-invariant geometry
    assert_isometry(SPDAffineInvariant(N), lambda p: p, x, y, target=inverted, atol=1e-12)


def test_deformations_compose() -> None:
    base = SPDAffineInvariant(N)
    x, y = base.random(2, 10, N, N, dtype=torch.float64)
    twice = PowerDeformed(PowerDeformed(base, 0.5), 3.0)
    torch.testing.assert_close(twice.dist(x, y), PowerDeformed(base, 1.5).dist(x, y), rtol=1e-11, atol=1e-11)


def test_a_geodesic_that_ends_gives_nan_and_harms_no_other() -> None:
    m = PowerDeformed(SPDBuresWasserstein(2), 0.5)
    x = torch.eye(2, dtype=torch.float64)
    u = torch.stack([-3.9 * x, -4.1 * x, 0.1 * x])  # D power[u] = u/2, and exp_I(w) = (1 + w/2)^2
    assert (m.domain_margin(x, u) > 0).tolist() == [True, False, True]
    assert m.expmap(x, u).isnan().flatten(1).all(1).tolist() == [False, True, False]
    assert (torch.linalg.eigvalsh(m.retr(x, 100 * u)) > 0).all()
    complete = PowerDeformed(SPDAffineInvariant(2), 0.5)
    assert complete.domain_margin(x, u).tolist() == [math.inf] * 3


def test_closed_transports() -> None:
    m = PowerDeformed(SPDBuresWasserstein(N), 0.5)
    x, eye, v = spd(10.0, 3, N), torch.eye(N, dtype=torch.float64), symmetric(N, N)
    there = m.transp_to_origin(x, v)
    torch.testing.assert_close(there, m.transp(x, eye, v), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(m.transp_from_origin(x, there), v, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("theta", [0.0, math.nan, math.inf])
def test_exponents_without_a_power_are_refused(theta: float) -> None:
    with pytest.raises(ValueError, match="PowerDeformed: expected a finite exponent other than 0, but got theta="):
        PowerDeformed(SPDBuresWasserstein(2), theta)


def test_other_manifolds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"geometry of positive definite matrices, but got Sphere\(dim=2\)"):
        PowerDeformed(Sphere(2), 0.5)


def test_repr_and_spec() -> None:
    m = PowerDeformed(SPDAffineInvariant(2), 0.5)
    assert repr(m) == "PowerDeformed(SPDAffineInvariant(n=2, upcast=True), theta=0.5)"
    assert m.spec["init_args"]["theta"] == 0.5
    assert m == PowerDeformed(SPDAffineInvariant(2), 0.5) != PowerDeformed(SPDAffineInvariant(2), 0.25)
    assert m.with_dim(6) == PowerDeformed(SPDAffineInvariant(3), 0.5)
