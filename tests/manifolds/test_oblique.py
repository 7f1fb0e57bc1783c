"""The oblique manifold is a product of spheres."""

import numpy as np
import pytest
import torch

from isometry.manifolds import Oblique, Product, Sphere
from isometry.trainers.optim import RiemannianAdam


def test_it_is_the_product_of_spheres() -> None:
    m, product = Oblique(4, 3), Product([Sphere(3)] * 3)
    x, y = m.random(2, 8, 4, 3, dtype=torch.float64).unbind(0)
    u, v = (m.proju(x, torch.randn_like(x)) for _ in range(2))
    a, b, c, d = (z.mT.flatten(-2) for z in (x, y, u, v))
    for ours, theirs in [
        (m.expmap(x, u), product.expmap(a, c)),
        (m.logmap(x, y), product.logmap(a, b)),
        (m.transp(x, y, v), product.transp(a, b, d)),
    ]:
        torch.testing.assert_close(ours.mT.flatten(-2), theirs)
    torch.testing.assert_close(m.dist(x, y), product.dist(a, b))
    torch.testing.assert_close(m.inner(x, u, v), product.inner(a, c, d))
    torch.testing.assert_close(m.log_det_exp(x, u), product.log_det_exp(a, c))
    weights = torch.rand(8, dtype=torch.float64)
    near = m.expmap(x[:1], 0.2 * m.proju(x[:1], torch.randn_like(x)))
    mean = product.frechet_mean(near.mT.flatten(-2), weights)
    torch.testing.assert_close(m.frechet_mean(near, weights).mT.flatten(-2), mean)


def test_adam_has_a_second_moment_for_each_column() -> None:
    m = Oblique(4, 3)
    p = torch.nn.Parameter(m.random(4, 3))
    optimizer = RiemannianAdam([{"params": [p], "manifold": m}])
    p.grad = torch.randn_like(p)
    optimizer.step()
    assert optimizer.state[p]["exp_avg_sq"].shape == (1, 3)


@pytest.mark.parametrize(("n", "k"), [(1, 3), (3, 0)])
def test_sizes_are_checked(n: int, k: int) -> None:
    with pytest.raises(ValueError, match="expected n >= 2 rows and k >= 1 columns"):
        Oblique(n, k)


@pytest.mark.peers
def test_pymanopt_agrees() -> None:
    from pymanopt.manifolds import Oblique as Peer

    m, peer = Oblique(4, 3), Peer(4, 3)
    x, y = m.random(2, 4, 3, dtype=torch.float64).unbind(0)
    u = m.proju(x, torch.randn_like(x))
    assert np.allclose(peer.exp(x.numpy(), u.numpy()), m.expmap(x, u), rtol=0, atol=1e-13)
    assert np.allclose(peer.log(x.numpy(), y.numpy()), m.logmap(x, y), rtol=0, atol=1e-12)
    assert peer.dist(x.numpy(), y.numpy()) == pytest.approx(m.dist(x, y).item(), rel=1e-12)
