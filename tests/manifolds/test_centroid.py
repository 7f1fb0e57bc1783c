"""The closed-form centroid of hyperbolic space, and the hyperboloid's coordinates of both models."""

import mpmath
import pytest
import torch
from torch import Tensor

from isometry.manifolds import Euclidean, Lorentz, PoincareBall, lorentz_to_poincare, poincare_to_lorentz
from isometry.manifolds.testing import assert_close_points

C = 0.7
MODELS = [PoincareBall(3, C), Lorentz(3, C)]


def points(manifold: PoincareBall | Lorentz, radius: float, spread: float, count: int = 6) -> Tensor:
    """Points at a radius, in directions that differ by the spread."""
    ray = torch.tensor([1.0, 0, 0], dtype=torch.float64) + spread * torch.randn(4, count, 3, dtype=torch.float64)
    u = radius / C**0.5 * ray / ray.norm(dim=-1, keepdim=True)
    return manifold.expmap(manifold.origin(*manifold.point_shape, dtype=u.dtype), manifold.origin_vector(u))


def by_definition(s: Tensor, w: Tensor) -> Tensor:
    """The spatial part of the normalised sum on the hyperboloid, in 60 digits."""
    results = []
    for rows in s.tolist():
        with mpmath.workdps(60):
            c = mpmath.mpf(C)
            space = [
                sum(mpmath.mpf(b) * mpmath.mpf(r[i]) for b, r in zip(w.tolist(), rows, strict=True)) for i in range(3)
            ]
            times = [mpmath.sqrt(1 / c + sum(mpmath.mpf(v) ** 2 for v in r)) for r in rows]
            time = sum(mpmath.mpf(b) * t for b, t in zip(w.tolist(), times, strict=True))
            length = mpmath.sqrt(c * (time**2 - sum(v**2 for v in space)))
            results.append([float(v / length) for v in space])
    return torch.tensor(results, dtype=torch.float64)


@pytest.mark.parametrize("radius", [0.5, 5.0, 15.0])
@pytest.mark.parametrize("spread", [0.0, 1e-4, 1.0])
def test_it_is_the_definition_without_cancellation(radius: float, spread: float) -> None:
    """A sum of squares that cancels would lose all digits at radius 15."""
    manifold, w = Lorentz(3, C), torch.rand(6, dtype=torch.float64)
    x = points(manifold, radius, spread)
    expected = by_definition(manifold.spatial(x), w)
    relative = (manifold.spatial(manifold.centroid(x, w)) - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert relative.max() < 1e-9 if spread == 1e-4 else relative.max() < 1e-13


def test_both_models_agree_and_have_einsteins_midpoint() -> None:
    """In Klein's coordinates it is the mean by the Lorentz factors; in the ball the gyromidpoint."""
    ball, hyperboloid = MODELS
    x, w = points(ball, 2.0, 1.0), torch.rand(6, dtype=torch.float64)
    mean = ball.centroid(x, w)
    assert_close_points(
        hyperboloid, poincare_to_lorentz(mean, C), hyperboloid.centroid(poincare_to_lorentz(x, C), w), 1e-13
    )

    square = C * x.square().sum(-1, keepdim=True)
    klein, gamma = 2 * x / (1 + square), (1 + square) / (1 - square)
    weights = w.unsqueeze(-1) * gamma
    einstein = (weights * klein).sum(-2) / weights.sum(-2)
    torch.testing.assert_close(
        2 * mean / (1 + C * mean.square().sum(-1, keepdim=True)), einstein, rtol=1e-13, atol=1e-14
    )

    factor = 2 / (1 - square)
    total = (w.unsqueeze(-1) * factor * x).sum(-2) / (w.unsqueeze(-1) * (factor - 1)).sum(-2)
    half = total / (1 + (1 - C * total.square().sum(-1, keepdim=True)).sqrt())  # 1/2 times it, in Moebius's sense
    torch.testing.assert_close(mean, half, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("manifold", MODELS, ids=repr)
def test_it_minimises_and_isometries_carry_it_along(manifold: PoincareBall | Lorentz) -> None:
    x, w = points(manifold, 2.0, 1.0), torch.rand(6, dtype=torch.float64)
    mean = manifold.centroid(x, w)
    g = manifold.random_isometry(torch.Generator().manual_seed(1), torch.float64)
    assert_close_points(manifold, manifold.centroid(manifold.act(g, x), w), manifold.act(g, mean), 1e-12)
    logs = manifold.logmap(mean.unsqueeze(-2), x)
    d = C**0.5 * manifold.norm(mean.unsqueeze(-2), logs, keepdim=True)
    slope = (w.unsqueeze(-1) * d.sinh() / d * logs).sum(-2)  # the gradient of sum w cosh d
    assert manifold.norm(mean, slope).max() < 1e-12


@pytest.mark.parametrize("manifold", MODELS, ids=repr)
def test_its_derivatives_are_right_and_finite_where_points_coincide(manifold: PoincareBall | Lorentz) -> None:
    x, w = points(manifold, 1.0, 1.0)[0], torch.rand(6, dtype=torch.float64)
    arguments = (x.requires_grad_(), w.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: manifold.centroid(manifold.projx(x), w), arguments)
    assert torch.autograd.gradgradcheck(lambda x, w: manifold.centroid(manifold.projx(x), w), arguments)
    for same in (x[:1].expand(6, -1), manifold.origin(6, *manifold.point_shape, dtype=x.dtype)):
        leaf = same.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(manifold.centroid(leaf, w).sum(), leaf)
        assert gradient.isfinite().all()


def test_in_flat_space_it_is_the_weighted_mean() -> None:
    x, w = torch.randn(4, 6, 3), torch.rand(4, 6)
    expected = (w.unsqueeze(-1) * x).sum(-2) / w.sum(-1, keepdim=True)
    torch.testing.assert_close(Euclidean(3).centroid(x, w), expected)
    torch.testing.assert_close(Euclidean(3).centroid(x), x.mean(-2))


@pytest.mark.parametrize("manifold", MODELS, ids=repr)
def test_spatial_parts_are_those_of_the_hyperboloid(manifold: PoincareBall | Lorentz) -> None:
    x = points(manifold, 6.0, 1.0)
    on_hyperboloid = poincare_to_lorentz(x, C) if isinstance(manifold, PoincareBall) else x
    torch.testing.assert_close(manifold.spatial(x), on_hyperboloid[..., 1:], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(manifold.from_spatial(manifold.spatial(x)), x, rtol=1e-13, atol=1e-13)
    expected = lorentz_to_poincare(on_hyperboloid, C)
    torch.testing.assert_close(
        PoincareBall(3, C).from_spatial(on_hyperboloid[..., 1:]), expected, rtol=1e-13, atol=1e-14
    )
