"""A learnable curvature, whose points follow it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isometry.manifolds import Lorentz, Manifold, PoincareBall, Product, Scaled, Sphere, register_manifold
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD
from isometry.trainers.optim._curvature import curvature_gradients, trained_curvatures


def build(kind: str) -> Manifold:
    learnable: dict[str, Any] = {"c": 1.3, "learnable": True}
    manifold: Manifold = {
        "ball": lambda: PoincareBall(3, **learnable),
        "lorentz": lambda: Lorentz(3, **learnable),
        "product": lambda: Product([PoincareBall(3, **learnable), Sphere(2), Lorentz(2, **learnable)]),
        "scaled": lambda: Scaled(PoincareBall(3, **learnable), 1.5),
    }[kind]()
    return manifold.double()


class Points(nn.Module):
    """Two tables on one manifold, with a loss that depends on distances and on coordinates."""

    def __init__(self, manifold: Manifold) -> None:
        super().__init__()
        self.manifold = manifold
        self.a, self.b = (nn.Parameter(manifold.random(4, *manifold.point_shape, dtype=torch.float64)) for _ in "ab")
        register_manifold(self, "a", manifold)
        register_manifold(self, "b", manifold)

    def forward(self) -> Tensor:
        return self.manifold.dist2(self.a, self.b).sum() + self.a.square().sum() + self.b.sin().sum()

    def curvatures(self) -> dict[str, Tensor]:
        return dict(self.manifold.named_parameters())


@pytest.mark.parametrize("kind", ["ball", "lorentz", "product", "scaled"])
def test_gradient_at_fixed_unit_coordinates(kind: str) -> None:
    """Central differences of the loss as a function of the curvature, the points following it."""
    points = Points(build(kind))
    points().backward()
    trained = trained_curvatures({points.a: points.manifold, points.b: points.manifold}, list(points.parameters()))
    with torch.no_grad():
        found = curvature_gradients(trained)
    start = [p.detach().clone() for p in (points.a, points.b)]
    for theta in points.curvatures().values():
        losses = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                c_old = points.manifold.c
                theta.add_(step)
                for p, x in zip((points.a, points.b), start, strict=True):
                    p.copy_(points.manifold.rescale(x, c_old))
                losses.append(points().item())
                theta.sub_(step)
        assert found[theta].item() == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-7)
        assert abs(found[theta].item() - theta.grad.item()) > 1e-3  # the naive gradient is another


@pytest.mark.parametrize("kind", ["ball", "lorentz", "product", "scaled"])
def test_points_follow_and_the_loss_falls(kind: str) -> None:
    points = Points(build(kind))
    optimizer = RiemannianAdam(points, lr=0.02)
    losses, start = [], [p.item() for p in points.curvatures().values()]
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(points())
        losses[-1].backward()
        optimizer.step()
        for p in (points.a, points.b):
            assert points.manifold.point_residual(p).max() < 1e-13
    assert losses[-1] < 0.9 * losses[0]
    assert all(abs(p.item() - s) > 1e-2 for p, s in zip(points.curvatures().values(), start, strict=True))


def test_without_gradients_points_keep_their_unit_coordinates() -> None:
    """Only the curvature has a gradient: distances in units of the curvature radius stay."""
    points = Points(build("ball"))
    before = points.manifold.dist(points.a, points.b).detach() * points.manifold.c.sqrt().detach()
    theta = next(iter(points.curvatures().values()))
    theta.grad = torch.ones_like(theta)
    RiemannianSGD(points, lr=0.3).step()
    assert points.manifold.c.item() == pytest.approx(1.3 * torch.tensor(-0.3).exp().item())
    after = points.manifold.dist(points.a, points.b).detach() * points.manifold.c.sqrt().detach()
    torch.testing.assert_close(after, before, rtol=1e-12, atol=0)


def test_sparse_gradient_gives_the_same_correction() -> None:
    points = Points(build("ball"))
    points().backward()
    manifolds: dict[Tensor, Any] = {points.a: points.manifold, points.b: points.manifold}
    trained = trained_curvatures(manifolds, list(points.parameters()))
    with torch.no_grad():
        dense = list(curvature_gradients(trained).values())
        points.a.grad = points.a.grad.to_sparse(1)
        sparse = list(curvature_gradients(trained).values())
    torch.testing.assert_close(sparse, dense, rtol=1e-14, atol=0)


def test_curvature_shared_by_two_sizes() -> None:
    ball = PoincareBall(3, learnable=True)
    module = nn.Module()
    module.a = nn.Parameter(ball.random(4, 3))
    module.b = nn.Parameter(ball.with_dim(2).random(4, 2))
    register_manifold(module, "a", ball)
    register_manifold(module, "b", ball.with_dim(2))
    a, b, ratio = module.a.detach().clone(), module.b.detach().clone(), torch.tensor(0.1).exp()
    ball.log_c.grad = torch.ones(1)
    RiemannianSGD(module, lr=0.2).step()
    torch.testing.assert_close(module.a.detach(), a * ratio)
    torch.testing.assert_close(module.b.detach(), b * ratio)


def test_fixed_points_of_another_optimizers_curvature() -> None:
    """An optimizer that does not have the curvature neither corrects it nor moves points for it."""
    points = Points(build("ball"))
    points().backward()
    theta = next(iter(points.curvatures().values()))
    before = theta.grad.clone()
    RiemannianSGD([{"params": [points.a, points.b], "manifold": points.manifold}], lr=0.0).step()
    assert torch.equal(theta.grad, before)
