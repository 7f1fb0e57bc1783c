"""The Riemannian norm of a gradient."""

import pytest
import torch
from torch import nn

from isometry.manifolds import PoincareBall, Sphere, register_manifold
from isometry.trainers.optim import clip_riemannian_grad_norm_, riemannian_grad_norm


def ball_at(radius: float) -> nn.Module:
    module = nn.Module()
    module.points = nn.Parameter(torch.tensor([[radius, 0.0]], dtype=torch.float64))
    register_manifold(module, "points", PoincareBall(2))
    module.points.grad = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    return module


@pytest.mark.parametrize("radius", [0.0, 0.5, 0.999])
def test_ball(radius: float) -> None:
    """``|grad| = (1 - |x|^2)/2 |g|``."""
    assert riemannian_grad_norm(ball_at(radius)).item() == pytest.approx(5 * (1 - radius**2) / 2, rel=1e-12)


def test_products_sum_squares_and_sparse_rows_count_once() -> None:
    module = nn.Module()
    module.points = nn.Parameter(torch.eye(3, dtype=torch.float64))
    register_manifold(module, "points", Sphere(2))
    module.linear = nn.Linear(2, 1, dtype=torch.float64)
    assert riemannian_grad_norm(module) == 0
    entries = torch.tensor([[0, 0, 2]])
    values = torch.tensor([[9.0, 1.0, 0.0], [9.0, 2.0, 0.0], [0.0, 0.0, 5.0]], dtype=torch.float64)
    module.points.grad = torch.sparse_coo_tensor(entries, values, (3, 3), check_invariants=True)
    module.linear.weight.grad = torch.tensor([[0.0, 4.0]], dtype=torch.float64)
    assert riemannian_grad_norm(module).item() == pytest.approx(5.0)  # the tangent part (0, 3, 0), and (0, 4)


def test_clip() -> None:
    module = ball_at(0.5)
    before = riemannian_grad_norm(module)
    assert clip_riemannian_grad_norm_(module, 10.0) == before
    assert torch.equal(module.points.grad, torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    assert clip_riemannian_grad_norm_(module, 0.1) == before
    assert riemannian_grad_norm(module).item() == pytest.approx(0.1, rel=1e-5)


def test_refuses() -> None:
    module = ball_at(0.5)
    with pytest.raises(ValueError, match="max_norm > 0"):
        clip_riemannian_grad_norm_(module, 0.0)
    module.points.grad.fill_(torch.nan)
    with pytest.raises(RuntimeError, match="norm of the gradients is nan"):
        clip_riemannian_grad_norm_(module, 1.0, error_if_nonfinite=True)
