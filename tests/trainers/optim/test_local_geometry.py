"""The geometry of a step against the manifolds' own methods, which have mpmath as their oracle."""

import geoopt
import pytest
import torch

from isometry.manifolds import Grassmann, Lorentz, Manifold, PoincareBall
from isometry.trainers.optim._local import LocalGeometry
from isometry.trainers.optim._local_geometry import local_geometry
from tests.trainers.optim.cases import MANIFOLDS


def start(manifold: Manifold, count: int = 50) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, LocalGeometry]:
    x = manifold.random(count, *manifold.point_shape, dtype=torch.float64)
    u, v = (manifold.proju(x, torch.randn_like(x)) for _ in range(2))
    return x, u / manifold.norm(x, u, keepdim=True), v, local_geometry(manifold, x)


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
class TestAgainstManifold:
    def test_gradient(self, manifold: Manifold) -> None:
        x, _, _, local = start(manifold)
        g = torch.randn_like(x)
        torch.testing.assert_close(local.gradient(g), manifold.egrad2rgrad(x, g), rtol=1e-9, atol=1e-12)

    def test_square(self, manifold: Manifold) -> None:
        x, _, _, local = start(manifold)
        g = torch.randn_like(x)
        r = local.gradient(g)
        expected = manifold.component_inner(x, manifold.egrad2rgrad(x, g))
        torch.testing.assert_close(local.square(g, r), expected, rtol=1e-8, atol=1e-12)

    def test_moves_as_exp_to_second_order(self, manifold: Manifold) -> None:
        """The distance to the end of the geodesic falls with the third power of the step."""
        x, u, _, local = start(manifold)
        errors = [float(manifold.dist(local.move(u, r), manifold.expmap(x, r * u)).max()) for r in (1e-2, 1e-3)]
        assert errors[0] < 1e-6
        assert errors[1] < errors[0] / 900 + 1e-13

    def test_transports(self, manifold: Manifold) -> None:
        x, u, v, local = start(manifold)
        y, moved = local.move_with(0.8 * u, v)
        expected = manifold.transp(x, y, v)
        scale = manifold.norm(y, expected).max()
        assert manifold.norm(y, manifold.proju(y, moved - expected)).max() < 1e-9 * scale

    def test_forms_of_move_agree(self, manifold: Manifold) -> None:
        _, u, _, local = start(manifold)
        rate = -torch.rand(50, 1, dtype=torch.float64)
        y, moved = local.move_with(rate * u, u)
        torch.testing.assert_close(local.move_along(u, rate), (y, moved), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(local.move(u, rate), y, rtol=1e-9, atol=1e-9)

    def test_ends_on_the_manifold(self, manifold: Manifold) -> None:
        _, u, _, local = start(manifold)
        y, moved = local.move_with(3 * u, u)
        assert manifold.point_residual(y).max() < 1e-14
        assert manifold.tangent_residual(y, moved).max() < 1e-12


@pytest.mark.parametrize(("n", "k"), [(5, 1), (5, 2), (5, 3), (8, 4)])
def test_grassmann(n: int, k: int) -> None:
    """Frames are those of Cholesky's factor, not the manifold's: what is compared does not depend on them."""
    manifold = Grassmann(n, k)
    x, u, v, local = start(manifold)
    torch.testing.assert_close(local.gradient(v + x), manifold.egrad2rgrad(x, v + x))
    torch.testing.assert_close(local.square(v, v), manifold.inner(x, v, keepdim=True))
    errors = [float(manifold.dist(local.move(u, r), manifold.expmap(x, r * u)).max()) for r in (1e-2, 1e-3)]
    assert errors[0] < 1e-6
    assert errors[1] < errors[0] / 900 + 1e-13
    rate = -torch.rand(50, 1, 1, dtype=torch.float64)
    y, moved = local.move_along(u, rate)
    torch.testing.assert_close(y, local.move(u, rate))
    torch.testing.assert_close(moved, manifold.transp(x, y, u), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(local.move_with(rate * u, v)[1], manifold.retr_transp(x, rate * u, v)[1])
    y, moved = local.move_along(v, 3.0)
    assert manifold.point_residual(y).max() < 1e-13  # the condition of (x + u)^T (x + u), about 100, times eps
    assert manifold.tangent_residual(y, moved).max() < 1e-12


@pytest.mark.parametrize("dim", [2, 10, 512])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ball_is_never_left(dim: int, dtype: torch.dtype) -> None:
    """Steps of all lengths, pushed outwards, from the boundary itself: exact arithmetic says inside."""
    ball = PoincareBall(dim, c=0.7)
    z = torch.randn(2000, dim, dtype=torch.float64)
    x = ball.projx((5 * z / z.norm(dim=-1, keepdim=True)).to(dtype))
    for _ in range(10):
        local = local_geometry(ball, x)
        length = 10 ** torch.empty(2000, 1, dtype=dtype).uniform_(-3, 3)
        room = (1 - 0.7 * x.square().sum(-1, keepdim=True)).clamp_min(torch.finfo(dtype).eps)
        x = local.move(room * (torch.randn(2000, dim, dtype=dtype) * length + 3 * x), 1.0)
        assert float(ball.point_residual(x).max()) == 0.0
    assert float(ball.dist(x, torch.zeros_like(x)).max()) > (13 if dtype == torch.float32 else 32)


def test_lorentz_far_out() -> None:
    """At radius 8 in float32, where Minkowski products lose seven digits, the step is right to the points' rounding."""
    manifold = Lorentz(3)
    u = torch.tensor([[0.0, 8.0, 0.0, 0.0]], dtype=torch.float64)
    x = manifold.expmap(manifold.origin(1, 4, dtype=torch.float64), u).float()
    v = manifold.proju(x.double(), torch.tensor([[0.0, 0.3, 0.4, 0.1]], dtype=torch.float64))
    y, moved = local_geometry(manifold, x).move_along(v.float(), -0.1)
    expected, carried = local_geometry(manifold, x.double()).move_along(v.float().double(), -0.1)
    assert y.dtype == moved.dtype == torch.float32
    torch.testing.assert_close(y.double(), expected, rtol=2e-7, atol=0)
    torch.testing.assert_close(moved.double(), carried, rtol=2e-7, atol=1e-7)


def test_geoopt_manifold_does_not_write_into_the_gradient() -> None:
    manifold = geoopt.Lorentz()
    x = manifold.random_normal(5, 4)
    g = torch.randn_like(x)
    before = g.clone()
    local_geometry(manifold, x).gradient(g)
    assert torch.equal(g, before)
