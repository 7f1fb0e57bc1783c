"""The wrapped normal against quadrature, mpmath, torch's normal and the moments of its samples."""

import math

import geoopt
import mpmath
import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from isometry.manifolds import (
    Checked,
    Euclidean,
    Lorentz,
    Manifold,
    PoincareBall,
    Product,
    Scaled,
    ShapeError,
    Sphere,
    Torus,
    WrappedNormal,
    poincare_to_lorentz,
)
from tests.manifolds.reference import MP, vector
from tests.manifolds.reference import PoincareBall as ReferenceBall


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def circle(angle: torch.Tensor) -> torch.Tensor:
    return torch.stack([angle.cos(), angle.sin()], -1)


# --- mass one, with the volume element of coordinates that are not ours -------------------------------------------


def test_mass_on_the_flat_plane_is_the_normals() -> None:
    loc, scale = tensor(1.0, -2.0), tensor(0.3, 2.0)
    x = torch.randn(20, 2, dtype=torch.float64)
    expected = Normal(loc, scale).log_prob(x).sum(-1)
    torch.testing.assert_close(WrappedNormal(Euclidean(2), loc, scale).log_prob(x), expected)


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0, 7.0])
def test_mass_on_the_sphere(scale: float) -> None:
    """``int p sin(polar) d polar d azimuth``; the integrable poles at loc and its antipode are in the weight."""
    d = WrappedNormal(Sphere(2), tensor(0.6, 0.0, 0.8), tensor(scale, 0.7 * scale))
    frame = torch.linalg.qr(
        torch.stack([d.loc, tensor(0.0, 1.0, 0.0), tensor(1.0, 0.0, 0.0)], -1)
    ).Q  # polar axis at loc
    nodes, weights = np.polynomial.legendre.leggauss(200)
    polar = torch.tensor((nodes + 1) * math.pi / 2).unsqueeze(-1)
    azimuth = torch.arange(64, dtype=torch.float64) * 2 * math.pi / 64
    axes = [polar.cos().expand(200, 64), polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin()]
    density = d.log_prob(torch.stack(axes, -1) @ frame.mT).exp() * polar.sin()
    mass = (torch.tensor(weights) @ density).sum() * math.pi / 2 * 2 * math.pi / 64
    assert float(mass) == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("c", [1.0, 0.5])
def test_mass_on_the_hyperbolic_plane(c: float) -> None:
    """The volume element of the ball is ``(2/(1 - c|x|^2))^2 dx``, in polar coordinates up to hyperbolic radius 10."""
    d = WrappedNormal(PoincareBall(2, c=c), tensor(0.3, -0.4), tensor(0.4, 0.7))
    nodes, weights = np.polynomial.legendre.leggauss(80)
    radius = 5 * (torch.tensor(nodes) + 1).unsqueeze(-1)
    azimuth = torch.arange(80, dtype=torch.float64) * 2 * math.pi / 80
    x = ((radius / 2).tanh() / c**0.5).unsqueeze(-1) * circle(azimuth)
    density = d.log_prob(x).exp() * radius.sinh() / c
    mass = (torch.tensor(weights) @ density).sum() * 5 * 2 * math.pi / 80
    assert float(mass) == pytest.approx(1, abs=1e-6)


# --- the density itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.05, 1.0, 3.0, 7.0])
def test_density_on_the_circle_is_theta(scale: float) -> None:
    """For the torus and for the sphere of dimension 1: ``theta_3(h/2, exp(-scale^2/2)) / (2 pi)``."""
    angles = torch.linspace(-3.1, 3.1, 12, dtype=torch.float64)
    with mpmath.workdps(60):
        q = mpmath.exp(-(mpmath.mpf(scale) ** 2) / 2)
        thetas = [mpmath.jtheta(3, (mpmath.mpf(h) - 0.4) / 2, q) / (2 * mpmath.pi) for h in angles.tolist()]
        expected = torch.tensor([float(mpmath.re(v)) for v in thetas], dtype=torch.float64)
    on_torus = WrappedNormal(Torus(1), tensor(0.4), scale).log_prob(angles.unsqueeze(-1))
    on_sphere = WrappedNormal(Sphere(1), circle(tensor(0.4)).squeeze(0), scale).log_prob(circle(angles))
    for value in (on_torus, on_sphere):
        torch.testing.assert_close(value.exp(), expected, rtol=1e-12, atol=1e-15)


def test_density_on_the_ball_is_nagano_and_others() -> None:
    """Their formula from the definitions of log and gyration in many digits, far from the origin."""
    ball, m = ReferenceBall(0.5), PoincareBall(3, c=0.5)
    loc, y = m.random(3, dtype=torch.float64), m.random(3, dtype=torch.float64)
    scale = tensor(0.3, 1.0, 2.0)
    value = WrappedNormal(m, loc, scale).log_prob(y).item()
    u = ball.logmap(vector(loc), vector(y))
    z = ball.transp(vector(loc), ball.origin(3), u) * 2  # the metric at the origin is 4 I
    radius = ball.norm(vector(loc), u) * ball.sqrt_c
    expected = -2 * MP.log(MP.sinh(radius) / radius)
    for a, s in zip(z, vector(scale), strict=True):
        expected -= (a / s) ** 2 / 2 + MP.log(s * MP.sqrt(2 * MP.pi))
    assert value == pytest.approx(float(expected), rel=1e-14)


def test_density_does_not_depend_on_the_model() -> None:
    c = 0.5
    ball, lorentz = PoincareBall(3, c=c), Lorentz(3, c=c)
    loc, y, scale = *ball.random(2, 6, 3, dtype=torch.float64), torch.rand(6, 3, dtype=torch.float64) + 0.1
    expected = WrappedNormal(ball, loc, scale).log_prob(y)
    value = WrappedNormal(lorentz, poincare_to_lorentz(loc, c), scale).log_prob(poincare_to_lorentz(y, c))
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)


def test_density_of_a_product_a_scaling_and_a_check() -> None:
    m = Product([Scaled(Torus(1), 2.0), Checked(Euclidean(2))])
    loc, scale, x = tensor(0.5, 1.0, 2.0), tensor(0.3, 1.0, 2.0), tensor(0.7, -1.0, 3.0)
    # on the circle of radius 2 the arc is 2 * 0.2; the windings 4 pi away weigh exp(-800)
    expected = Normal(tensor(0.0, 1.0, 2.0), scale).log_prob(tensor(0.4, -1.0, 3.0)).sum()
    torch.testing.assert_close(WrappedNormal(m, loc, scale).log_prob(x), expected)


# --- samples ------------------------------------------------------------------------------------------------------

CASES = [Sphere(2), PoincareBall(2, c=0.5), Lorentz(2), Torus(2), Product([Sphere(1), PoincareBall(1)])]


@pytest.mark.parametrize("m", CASES, ids=repr)
def test_samples_follow_the_density(m: Manifold) -> None:
    """``E[q(x)/p(x)] = 1`` for samples x of p, where q is a density of mass 1 with lighter tails."""
    p = WrappedNormal(m, m.random(*m.point_shape, dtype=torch.float64), tensor(0.8, 0.5))
    near = p.sample((), torch.Generator().manual_seed(1))
    q = WrappedNormal(m, near, tensor(0.3, 0.3))
    x = p.sample((40_000,), torch.Generator().manual_seed(2))
    m.assert_check_point_on_manifold(x)
    ratio = (q.log_prob(x) - p.log_prob(x)).exp()
    assert abs(float(ratio.mean()) - 1) < 5 * float(ratio.std()) / math.sqrt(40_000)


def test_samples_have_geoopts_moments() -> None:
    """geoopt samples the same law on the ball; compare the mean squared distance from loc, and from the origin."""
    loc, scale, count = tensor(0.3, -0.4), 0.6, 40_000
    torch.manual_seed(0)
    theirs = (
        geoopt.PoincareBall()
        .wrapped_normal(count, 2, mean=loc, std=scale * torch.ones(2, dtype=torch.float64))
        .detach()
    )
    ours = WrappedNormal(PoincareBall(2), loc, scale).sample((count,))
    m = PoincareBall(2)
    for centre in (loc, torch.zeros_like(loc)):
        samples = [m.dist2(centre, x) for x in (ours, theirs)]
        error = math.sqrt(sum(float(d.var()) for d in samples) / count)
        assert abs(float(samples[0].mean() - samples[1].mean())) < 5 * error
    assert float(m.dist2(loc, ours).mean()) == pytest.approx(2 * scale**2, rel=0.05)


def test_gradients_reach_loc_and_scale() -> None:
    """By finite differences along points of the manifold, for samples and for the density."""
    m = Product([Sphere(2), PoincareBall(2), Torus(1)])
    loc, scale = m.random(*m.point_shape, dtype=torch.float64), torch.rand(m.dim, dtype=torch.float64) + 0.5
    x = m.random(*m.point_shape, dtype=torch.float64)

    def sample(loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return WrappedNormal(m, m.projx(loc), scale).rsample((2,), torch.Generator().manual_seed(0))

    def density(loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return WrappedNormal(m, m.projx(loc), scale).log_prob(x)

    inputs = (loc.detach().requires_grad_(), scale.requires_grad_())
    torch.autograd.gradcheck(sample, inputs)
    torch.autograd.gradcheck(density, inputs)


@pytest.mark.parametrize("m", CASES, ids=repr)
def test_density_at_loc_is_finite_with_finite_gradients(m: Manifold) -> None:
    loc = m.random(3, *m.point_shape).requires_grad_()
    scale = torch.ones(2, requires_grad=True)
    value = WrappedNormal(m, loc, scale).log_prob(loc)
    for gradient in torch.autograd.grad(value.sum(), (loc, scale), create_graph=True):
        assert gradient.isfinite().all()
        assert all(g.isfinite().all() for g in torch.autograd.grad(gradient.sum(), (loc, scale), retain_graph=True))


# --- the interface ------------------------------------------------------------------------------------------------


def test_shapes_are_those_of_torchs_distributions() -> None:
    m = Sphere(2)
    d = WrappedNormal(m, m.random(4, 3), torch.ones(5, 1, 2))
    twin = MultivariateNormal(torch.zeros(5, 4, 3), torch.eye(3))
    assert (d.batch_shape, d.event_shape) == (twin.batch_shape, twin.event_shape)
    x = d.sample((7,))
    assert x.shape == twin.sample((7,)).shape
    assert d.log_prob(x).shape == (7, 5, 4)
    assert not x.requires_grad


@pytest.mark.parametrize("m", [*CASES, Checked(Sphere(2)), Scaled(Sphere(2), 2.0)], ids=repr)
def test_compiles_vectorizes_and_takes_half_precision(m: Manifold) -> None:
    loc, x = m.random(4, *m.point_shape), m.random(4, *m.point_shape)
    scale = torch.rand(4, 2) + 0.5

    def log_prob(loc: torch.Tensor, scale: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return WrappedNormal(m, loc, scale, validate_args=False).log_prob(x)

    expected = log_prob(loc, scale, x)
    torch.testing.assert_close(torch.compile(log_prob, backend="aot_eager", fullgraph=True)(loc, scale, x), expected)
    torch.testing.assert_close(torch.func.vmap(log_prob)(loc, scale, x), expected)
    half = [t.bfloat16() for t in (loc, scale, x)]
    exact = log_prob(*(t.double() for t in half))
    torch.testing.assert_close(log_prob(*half), exact.bfloat16())


def test_mistakes_are_refused() -> None:
    class Curve(Euclidean):
        def supports(self, capability: type) -> bool:
            return False

    class Compact(Euclidean):
        def injectivity_radius(self) -> float:
            return 1.0

    loc = torch.zeros(3)
    with pytest.raises(TypeError, match=r"expected a homogeneous manifold, but Curve\(dim=3\)"):
        WrappedNormal(Curve(3), loc, 1.0)
    with pytest.raises(TypeError, match=r"exponential map of Compact\(dim=3\) is not injective"):
        WrappedNormal(Compact(3), loc, 1.0).log_prob(loc)
    with pytest.raises(ShapeError, match=r"expected scales that broadcast with \(3,\).*but got shape \(2,\)"):
        WrappedNormal(Euclidean(3), loc, torch.ones(2))
    with pytest.raises(ShapeError, match="a point ends in dimensions"):
        WrappedNormal(Euclidean(3), torch.zeros(2), 1.0)
    with pytest.raises(ShapeError, match="a point ends in dimensions"):
        WrappedNormal(Euclidean(3), loc, 1.0).log_prob(torch.zeros(2))
    with pytest.raises(ValueError, match="scale"):
        WrappedNormal(Euclidean(3), loc, -1.0, validate_args=True)
