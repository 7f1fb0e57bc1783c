"""Derivatives beside closed forms: eigenfunctions of the Laplacian, polynomials, and Hessians by brute force."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.manifolds import (
    DiagonalGaussian,
    Euclidean,
    Grassmann,
    Lorentz,
    Manifold,
    PoincareBall,
    Product,
    RealView,
    Scaled,
    ShapeError,
    SPDAffineInvariant,
    SPDLogEuclidean,
    SpecialOrthogonal,
    SpecialUnitary,
    Sphere,
    StiefelEuclidean,
    Torus,
    directional_derivatives,
    laplace_beltrami,
    laplacian,
    orthonormal_frame,
)
from isometry.manifolds.testing import Case
from isometry.manifolds.testing.frames import gram_matrix, orthonormal
from tests.manifolds.test_conformance import MANIFOLDS

CASES = [case if isinstance(case, Case) else Case(case) for case in MANIFOLDS]


def network(n: int = 6, outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n, 8), nn.Tanh(), nn.Linear(8, outputs)).double()


def hessian_traces(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``[b, m]``, forward over reverse."""
    hessians = torch.func.vmap(torch.func.jacfwd(torch.func.jacrev(f)))(x)
    return hessians.diagonal(dim1=-2, dim2=-1).sum(-1)


def points(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class TestDirectionalDerivatives:
    @pytest.mark.parametrize("order", range(6))
    def test_of_an_exponential(self, order: int) -> None:
        x, v, a = points(3, 4, 5)
        found = directional_derivatives(lambda y: (y * a).sum(-1).exp(), x, v, order)
        assert len(found) == order + 1
        for k, value in enumerate(found):
            exact = (v * a).sum(-1) ** k * (x * a).sum(-1).exp()
            assert torch.allclose(value, exact, rtol=1e-13, atol=1e-13)

    def test_those_of_a_polynomial_end(self) -> None:
        x, v = points(2, 5)
        found = directional_derivatives(lambda y: y**3, x, v, 4)
        for value, exact in zip(found, [x**3, 3 * x**2 * v, 6 * x * v**2, 6 * v**3, 0 * x], strict=True):
            assert (value - exact).abs().max() < 1e-14

    def test_refusal(self) -> None:
        with pytest.raises(ValueError, match="order of at least 0, but got -1"):
            directional_derivatives(torch.sin, torch.ones(2), torch.ones(2), -1)


class TestLaplacian:
    @pytest.mark.parametrize("options", [{}, {"method": "sparse", "samples": 6}], ids=["exact", "all coordinates"])
    def test_is_the_trace_of_the_hessian(self, options: dict[str, Any]) -> None:
        f, x = network(), points(4, 6)
        assert (laplacian(f, x, **options) - hessian_traces(f, x)).abs().max() < 1e-14
        one = network(outputs=1)
        assert (laplacian(lambda y: one(y).squeeze(-1), x) - hessian_traces(one, x).squeeze(-1)).abs().max() < 1e-14

    def test_more_coordinates_than_a_chunk(self) -> None:
        x, a = points(3, 150), torch.arange(150.0, dtype=torch.float64)
        exact = (6 * a * x).sum(-1)
        assert torch.allclose(laplacian(lambda y: (a * y**3).sum(-1), x), exact, rtol=1e-13)

    @pytest.mark.parametrize(
        ("method", "samples"), [("hutchinson", 1), ("hutchinson", 3), ("sparse", 1), ("sparse", 3)]
    )
    def test_estimates_have_the_stated_mean_and_variance(self, method: str, samples: int) -> None:
        a, count, n = points(5, 5), 40_000, 5
        a = a + a.mT
        x = torch.zeros(count, n, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        found = laplacian(lambda y: ((y @ a) * y).sum(-1) / 2, x, method=method, samples=samples, generator=generator)
        diagonal = a.diagonal()
        variance = 2 * (a.square().sum() - diagonal.square().sum()) / samples
        if method == "sparse":  # without replacement
            variance = (n * diagonal.square().sum() - a.trace() ** 2) / samples * (n - samples) / (n - 1)
        assert abs(float(found.mean() - a.trace())) < 5 * float(variance / count) ** 0.5
        assert float(found.var() / variance) == pytest.approx(1, abs=0.05)

    def test_powers(self) -> None:
        """``Delta^p |x|^(2p) = 2^p p! n (n + 2) ... (n + 2p - 2)``, a constant; with |x|^2 more, a quadratic one."""
        x, n = points(2, 3), 3
        for p in (1, 2, 3):
            exact = 2**p * math.factorial(p) * math.prod(n + 2 * k for k in range(p))
            f = partial(torch.pow, exponent=p)
            assert torch.allclose(laplacian(lambda y, f=f: f(y.square().sum(-1)), x, power=p), x.new_tensor(exact))
        biharmonic = laplacian(lambda y: y.square().sum(-1) ** 3, x, power=2)
        assert torch.allclose(biharmonic, 24 * (n + 2) * (n + 4) * x.square().sum(-1))

    def test_estimated_powers(self) -> None:
        x = points(1, 3).expand(20_000, 3)
        values = laplacian(
            lambda y: (y.sum(-1) / 2).sin(),
            x,
            method="hutchinson",
            samples=4,
            power=2,
            generator=torch.Generator().manual_seed(0),
        )
        exact = 9 / 16 * (x[0].sum() / 2).sin()
        assert abs(float(values.mean() - exact)) < 5 * float(values.std()) / len(values) ** 0.5 < 0.05

    def test_parameters_learn_through_it(self) -> None:
        f, x = network(), points(4, 6)
        laplacian(f, x).square().sum().backward()
        expected = [p.grad for p in f.parameters()]
        f.zero_grad(set_to_none=True)
        hessian_traces(f, x).square().sum().backward()
        for found, p in zip(expected, f.parameters(), strict=True):
            if p is not f[2].bias:  # on which nothing depends
                assert (found - p.grad).abs().max() < 1e-13

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "taylor"}, "expected 'exact'"),
            ({"samples": 3}, "none with 'exact'"),
            ({"method": "hutchinson"}, "samples with an estimate"),
            ({"method": "hutchinson", "samples": 0}, "between 1 and inf"),
            ({"method": "sparse", "samples": 7}, "between 1 and 6 samples"),
            ({"method": "sparse", "samples": 2, "power": 2}, "and 1 with 'sparse'"),
            ({"power": 0}, "power >= 1"),
        ],
    )
    def test_refusals(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            laplacian(network(), points(4, 6), **options)


class TestFrames:
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_is_orthonormal_and_tangent(self, case: Case) -> None:
        x = case.points(3)
        frame = orthonormal_frame(case.manifold, x).detach()
        gram = gram_matrix(case.manifold, x, frame.movedim(0, 1))
        assert (gram - torch.eye(case.manifold.dim)).abs().max() < case.bound(x.dtype)
        assert case.manifold.tangent_residual(x.expand_as(frame), frame).max() < case.bound(x.dtype)


def harmonic(degree: int) -> Callable[[Tensor], Tensor]:
    """``Re (x + iy)^degree``, harmonic and homogeneous."""
    return lambda y: torch.complex(y[..., 0], y[..., 1]).pow(degree).real


def trace(y: Tensor) -> Tensor:
    return y.diagonal(dim1=-2, dim2=-1).sum(-1)


TRACELESS = torch.diag(torch.tensor([1.0, 2.0, -1.0, -3.0, 1.0], dtype=torch.float64))
BOUNDARY = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)

EIGENFUNCTIONS: list[tuple[Manifold, Callable[[Tensor], Tensor], float]] = [
    (Euclidean(3), lambda y: (y[..., 0] * 2).sin() * y[..., 1].exp(), -3.0),
    *((Sphere(n), harmonic(k), -k * (k + n - 1.0)) for n in (2, 4) for k in (1, 3)),
    (Scaled(Sphere(2), 3.0), harmonic(2), -6 / 9),
    (Torus(3), lambda y: (2 * y[..., 0]).sin() * (3 * y[..., 2]).cos(), -13.0),
    # the Poisson kernel of the ball to the power s, and horocyclic waves of the hyperboloid, at curvature -c
    (PoincareBall(3), lambda y: ((1 - y.square().sum(-1)) / (y - BOUNDARY).square().sum(-1)) ** 0.7, 0.7 * (0.7 - 2)),
    (Lorentz(3), lambda y: (y[..., 0] - y[..., 1]) ** -0.7, 0.7 * (0.7 - 2)),
    (Lorentz(2, c=0.25), lambda y: (y[..., 0] - y[..., 1]) ** -0.3, 0.25 * 0.3 * (0.3 - 1)),
    # functions of radius alone: coth r in three dimensions
    (Lorentz(3), lambda y: (y[..., 0].square() - 1).rsqrt() * y[..., 0].acosh(), -1.0),
    # Wigner's matrices: -l (l + 1), and each unit vector turns by 1/sqrt(2)
    (SpecialOrthogonal(3), lambda y: y[..., 0, 1], -1.0),
    (SpecialOrthogonal(3), lambda y: y[..., 0, 0] * y[..., 0, 1], -3.0),
    (SpecialOrthogonal(3), lambda y: trace(y).square() - trace(y) - 1, -3.0),  # the character of l = 2
    (SpecialOrthogonal(4), lambda y: y[..., 0, 1], -1.5),
    (Grassmann(5, 2), lambda y: trace(y.mT @ TRACELESS @ y), -10.0),
    (StiefelEuclidean(5, 2), lambda y: y[..., 1, 0], -3.5),  # n - (k + 1)/2
    (SPDAffineInvariant(3), trace, 2.0),  # (n + 1)/2
    (SPDAffineInvariant(3), lambda y: torch.linalg.det(y) ** 0.7, 3 * 0.49),
    (Product([Sphere(2), Euclidean(1)]), lambda y: harmonic(2)(y) * y[..., 3].exp(), -5.0),
]


class TestLaplaceBeltrami:
    @pytest.mark.parametrize(("manifold", "f", "eigenvalue"), EIGENFUNCTIONS)
    def test_eigenfunctions(self, manifold: Manifold, f: Callable[[Tensor], Tensor], eigenvalue: float) -> None:
        x = Case(manifold, radius=2.0).points(6)
        found, values = laplace_beltrami(f, manifold, x), f(x)
        assert (found - eigenvalue * values).abs().max() < 1e-12 * values.abs().max() * max(1, abs(eigenvalue))

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_is_the_trace_of_the_hessian_in_normal_coordinates(self, case: Case) -> None:
        """By the exponential map and forward over reverse mode, in a frame from elsewhere."""
        m, x = case.manifold, case.points(1)
        frame = orthonormal(case, x)[0].detach()
        projection = case.noise(x[0], seed=7)

        def f(y: Tensor) -> Tensor:
            if isinstance(m, Grassmann):  # its functions are those of the projector
                y = (y @ y.mT)[..., : m.k]
            return ((y * projection).flatten(-len(m.point_shape)).sum(-1)).sin()

        def in_coordinates(z: Tensor) -> Tensor:
            return f(m.expmap(x[0], torch.tensordot(z, frame, 1)))

        hessian = torch.func.jacfwd(torch.func.jacrev(in_coordinates))(torch.zeros(m.dim, dtype=x.dtype))
        found = laplace_beltrami(f, m, x).detach()
        assert abs(float(found - hessian.trace())) < 16 * case.bound(x.dtype) * max(1.0, float(hessian.norm()))

    def test_of_the_squared_distance_at_its_center_is_twice_the_dimension(self) -> None:
        for m in (SPDLogEuclidean(3), SPDAffineInvariant(2), DiagonalGaussian(2), Lorentz(4)):
            x = Case(m, radius=1.0).points(2)
            found = laplace_beltrami(lambda y, m=m, x=x: m.dist2(y, x), m, x)
            assert (found - 2 * m.dim).abs().max() < 1e-11

    def test_casimir_of_the_unitary_group(self) -> None:
        """Entries of SU(2) are those of spin 1/2; the unit vectors i sigma/sqrt(2) have squares that sum to -3/2."""
        m = SpecialUnitary(2)
        x = m.random(3, 2, 2, dtype=torch.complex128)
        view = RealView(m)
        y = torch.view_as_real(x)
        found = laplace_beltrami(lambda z: z[..., 0, 1, 0], view, y)
        assert (found + 1.5 * y[..., 0, 1, 0]).abs().max() < 1e-13

    def test_squared(self) -> None:
        m = Sphere(2)
        x = m.random(4, 3, dtype=torch.float64)
        twice = laplace_beltrami(lambda y: laplace_beltrami(harmonic(3), m, y), m, x)
        assert (twice - 144 * harmonic(3)(x)).abs().max() < 1e-11

    @pytest.mark.parametrize("manifold", [Sphere(3), SPDAffineInvariant(2)])
    def test_estimates_are_unbiased(self, manifold: Manifold) -> None:
        x = Case(manifold, radius=1.0).points(1).expand(20_000, *manifold.point_shape)
        weights = points(*manifold.point_shape)

        def f(y: Tensor) -> Tensor:
            return (y * weights).flatten(-manifold.ndim).sum(-1).sin()

        values = laplace_beltrami(f, manifold, x, samples=2, generator=torch.Generator().manual_seed(0))
        exact = laplace_beltrami(f, manifold, x[:1])
        assert abs(float(values.mean() - exact)) < 5 * float(values.std()) / len(values) ** 0.5 < 0.2

    def test_networks_with_several_values_learn_through_it(self) -> None:
        m, f = Sphere(5), network()
        x = m.random(4, 6, dtype=torch.float64)
        found = laplace_beltrami(f, m, x)
        single = [laplace_beltrami(lambda y, k=k: f(y)[..., k], m, x) for k in range(3)]
        assert (found - torch.stack(single, -1)).abs().max() < 1e-13
        found.square().sum().backward()
        gradient, eps = f[0].weight.grad.clone(), 1e-6
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                f[0].weight[2, 3] += sign * eps
                values.append(float(laplace_beltrami(f, m, x).square().sum()))
                f[0].weight[2, 3] -= sign * eps
        assert float(gradient[2, 3]) == pytest.approx((values[0] - values[1]) / (2 * eps), rel=1e-6)

    def test_refusals(self) -> None:
        x = Sphere(2).random(4, 3, dtype=torch.float64)
        with pytest.raises(ShapeError, match="ends in dimensions"):
            laplace_beltrami(harmonic(2), Sphere(3), x)
        with pytest.raises(ValueError, match="at least 1 sample, but got 0"):
            laplace_beltrami(harmonic(2), Sphere(2), x, samples=0)
        with pytest.raises(ValueError, match="values of batch"):
            laplace_beltrami(lambda y: y.sum(), Sphere(2), x)
