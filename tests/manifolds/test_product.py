"""The product against geoopt's, its factors, and jsonargparse."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import geoopt
import jsonargparse
import pytest
import torch

from isometry.manifolds import (
    Euclidean,
    HeatKernelManifold,
    HomogeneousManifold,
    Lorentz,
    Manifold,
    PoincareBall,
    Product,
    Scaled,
    Sphere,
    Torus,
    frechet_mean,
)


def pair(seed: int = 0) -> tuple[Product, Any]:
    """One product in this library and in geoopt."""
    ours = Product([PoincareBall(2), Euclidean(3), Sphere(2)])
    theirs = geoopt.ProductManifold(
        (geoopt.PoincareBall(), 2), (geoopt.Euclidean(ndim=1), 3), (geoopt.SphereExact(), 3)
    )
    return ours, theirs


def points(m: Manifold, count: int = 6, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return m.random(count, *m.point_shape, generator=generator, dtype=torch.float64).detach()


def test_agrees_with_geoopt() -> None:
    ours, theirs = pair()
    assert (ours.dim, ours.point_shape) == (7, (8,))
    x, y = points(ours), points(ours, seed=1)
    u, v = (0.3 * ours.proju(x, torch.randn_like(x)) for _ in range(2))
    for name, arguments in [
        ("dist", (x, y)),
        ("dist2", (x, y)),
        ("inner", (x, u, v)),
        ("norm", (x, u)),
        ("component_inner", (x, u, v)),
        ("expmap", (x, u)),
        ("logmap", (x, y)),
        ("egrad2rgrad", (x, u)),
        ("proju", (x, u)),
    ]:
        expected = getattr(theirs, name)(*arguments)
        torch.testing.assert_close(getattr(ours, name)(*arguments), expected, rtol=1e-9, atol=1e-9)


def test_transport_keeps_inner_products_where_geoopts_projects() -> None:
    m, (x, y) = pair()[0], (points(pair()[0], seed=s) for s in (0, 1))
    u, v = (m.proju(x, torch.randn_like(x)) for _ in range(2))
    moved = m.inner(y, m.transp(x, y, u), m.transp(x, y, v))
    torch.testing.assert_close(moved, m.inner(x, u, v), rtol=1e-12, atol=1e-12)


def test_split_and_join_are_the_columns() -> None:
    m = Product([Sphere(1), Product([Euclidean(1), Lorentz(2)])])
    x = points(m)
    sphere, rest = m.split(x)
    assert torch.equal(sphere, x[:, :2])
    assert torch.equal(rest, x[:, 2:])
    assert torch.equal(m.join([sphere, rest]), x)


def test_mean_minimizes_the_sum_over_all_factors() -> None:
    m = pair()[0]
    x, weights = points(m), torch.rand(6, dtype=torch.float64)
    mean = m.frechet_mean(x, weights)
    torch.testing.assert_close(mean, frechet_mean(m, x, weights), rtol=1e-9, atol=1e-9)  # the factors solved at once
    torch.testing.assert_close(mean[2:5], (weights @ x[:, 2:5]) / weights.sum())


def test_capabilities_are_those_of_every_factor() -> None:
    both, isometries_only = Product([Torus(2), Euclidean(1)]), Product([Torus(2), Lorentz(2)])
    assert both.supports(HomogeneousManifold)
    assert both.supports(HeatKernelManifold)
    assert isometries_only.supports(HomogeneousManifold)
    assert not isometries_only.supports(HeatKernelManifold)
    assert not Product([both, isometries_only]).supports(HeatKernelManifold)
    with pytest.raises(AttributeError, match=r"'Lorentz' object has no attribute 'volume'"):
        isometries_only.volume()


def test_heat_kernel_is_the_product_of_the_factors() -> None:
    m = Product([Torus(2), Scaled(Torus(1), 2.0)])
    x, y, t = points(m), points(m, seed=1), torch.rand(6, dtype=torch.float64)
    first, second = Torus(2).heat_kernel_log_prob, Scaled(Torus(1), 2.0).heat_kernel_log_prob
    expected = first(t, x[:, :2], y[:, :2]) + second(t, x[:, 2:], y[:, 2:])
    torch.testing.assert_close(m.heat_kernel_log_prob(t, x, y), expected)
    assert m.volume() == pytest.approx(2 * (2 * torch.pi) ** 3)
    assert m.sample_heat_kernel(t, x).shape == x.shape


@pytest.mark.parametrize(("dim", "shares"), [(5, [2, 3]), (10, [4, 6]), (6, [2, 4]), (7, [3, 4])])
def test_with_dim_keeps_proportions(dim: int, shares: list[int]) -> None:
    m = Product([Sphere(2), Lorentz(3, learnable=True)]).with_dim(dim)
    assert [factor.dim for factor in m.manifolds] == shares
    with pytest.raises(ValueError, match="expected an intrinsic dimension >= 1"):
        m.with_dim(1)


def test_curvatures_of_the_factors_can_change_under_the_points() -> None:
    """``rescale`` moves each factor's points so that distances in units of the curvature radius stay."""
    ball, lorentz = PoincareBall(2, c=1.0, learnable=True), Lorentz(2, c=0.5, learnable=True)
    m = Product([ball, Euclidean(2), Scaled(lorentz, 3.0)])
    x, y = points(m), points(m, seed=1)

    def unit_distances(a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
        radii = [ball.c**-0.5, 1.0, 3 * lorentz.c**-0.5]
        return [f.dist(p, q) / r for f, p, q, r in zip(m.manifolds, m.split(a), m.split(b), radii, strict=True)]

    before, c_old = unit_distances(x, y), m.c
    with torch.no_grad():
        ball.log_c.add_(1.7)
        lorentz.log_c.sub_(0.4)
    assert not m.check_point_on_manifold(x)
    x, y = m.rescale(x, c_old), m.rescale(y, c_old)
    m.assert_check_point_on_manifold(x)
    for a, b in zip(unit_distances(x, y), before, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=0)  # log_c is a float32


def test_a_module_with_it_is_saved_copied_and_trained_by_geoopt() -> None:
    m = Product([PoincareBall(2, learnable=True), Sphere(2)])
    assert len(list(m.parameters())) == 1
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        other.load_state_dict(m.state_dict())
        assert other.spec == m.spec
        assert other != m  # it holds parameters
    target, start = points(m, 1), points(m, 1, seed=1)
    x = geoopt.ManifoldParameter(start, manifold=m)
    optimizer = geoopt.optim.RiemannianAdam([x], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        m.dist2(x, target).sum().backward()
        optimizer.step()
    m.assert_check_point_on_manifold(x)
    assert float(m.dist(x, target).detach()) < 1e-3


def test_a_config_names_the_factors(tmp_path: Path) -> None:
    def build(manifold: Manifold) -> Manifold:
        return manifold

    m = Product([PoincareBall(3, c=0.5), Scaled(Product([Sphere(2), Torus(1)]), 2.0)])
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"manifold": m.spec}))
    built = jsonargparse.CLI(build, args=["--config", str(config)])
    assert built == m
    assert built != Product([PoincareBall(3, c=0.5), Scaled(Product([Sphere(2), Torus(1)]), 3.0)])


def test_no_factor_is_refused() -> None:
    with pytest.raises(ValueError, match="Product: expected at least one factor"):
        Product([])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_points_at_the_boundary_stay_inside_when_the_curvature_changes(dtype: torch.dtype) -> None:
    ball = PoincareBall(3, learnable=True)
    m = Product([ball, Euclidean(1)])
    x = m.projx(1e6 * torch.randn(500, 4, dtype=dtype))
    for change in torch.randn(20):
        c_old = m.c
        with torch.no_grad():
            ball.log_c.add_(change)
        x = m.rescale(x, c_old).detach()
        assert x.dtype == dtype
        m.assert_check_point_on_manifold(x)
