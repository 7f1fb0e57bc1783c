"""Retractions: their definitions, and the order to which they follow each metric's geodesics."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.manifolds import (
    StiefelCanonical,
    StiefelEuclidean,
    cayley_retraction,
    polar_retraction,
    qr_retraction,
)

RETRACTIONS = [cayley_retraction, polar_retraction, qr_retraction]
Retraction = Callable[[Tensor, Tensor], Tensor]


def draw(n: int, k: int, length: float = 1.0) -> tuple[Tensor, Tensor]:
    m = StiefelEuclidean(n, k)
    x = m.random(8, n, k, dtype=torch.float64)
    u = m.proju(x, torch.randn_like(x))
    return x, length / m.norm(x, u, keepdim=True) * u


@pytest.mark.parametrize(("n", "k"), [(6, 2), (6, 5)])
@pytest.mark.parametrize("length", [0.1, 30.0])
def test_definitions(n: int, k: int, length: float) -> None:
    x, u = draw(n, k, length)
    q, r = torch.linalg.qr(x + u)
    torch.testing.assert_close(qr_retraction(x, u), q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2))
    left, _, right = torch.linalg.svd(x + u, full_matrices=False)
    torch.testing.assert_close(polar_retraction(x, u), left @ right)
    s = (u - x @ (x.mT @ u) / 2) @ x.mT
    s, eye = s - s.mT, torch.eye(n, dtype=x.dtype)
    torch.testing.assert_close(cayley_retraction(x, u), torch.linalg.solve(eye - s / 2, (eye + s / 2) @ x))


@pytest.mark.parametrize("retraction", RETRACTIONS)
def test_points_are_on_the_manifold_and_derivatives_right(retraction: Retraction) -> None:
    x, u = draw(5, 3, 10.0)
    m = StiefelEuclidean(5, 3)
    assert float(m.point_residual(retraction(x, u)).max()) < 1e-13

    def on_tangents(x: Tensor, u: Tensor) -> Tensor:
        x = m.projx(x)
        return retraction(x, m.proju(x, u))

    for scale in (1.0, 0.0):
        inputs = (x[:1].clone().requires_grad_(), (scale * u[:1]).requires_grad_())
        torch.autograd.gradcheck(on_tangents, inputs, fast_mode=True)
        torch.autograd.gradgradcheck(on_tangents, inputs, fast_mode=True)


ORDERS = [
    (StiefelCanonical, cayley_retraction, 2),
    (StiefelCanonical, polar_retraction, 1),
    (StiefelCanonical, qr_retraction, 1),
    (StiefelEuclidean, cayley_retraction, 1),
    (StiefelEuclidean, polar_retraction, 2),
    (StiefelEuclidean, qr_retraction, 1),
]


@pytest.mark.parametrize(("cls", "retraction", "order"), ORDERS)
def test_order(cls: type[Any], retraction: Retraction, order: int) -> None:
    """A step ten times as short ends ``10^(order + 1)`` times as close to the geodesic."""
    m = cls(6, 3)
    x, u = draw(6, 3)
    errors = [float((retraction(x, t * u) - m.expmap(x, t * u)).abs().max()) for t in (1e-2, 1e-3)]
    assert errors[0] / errors[1] == pytest.approx(10 ** (order + 1), rel=0.1)
