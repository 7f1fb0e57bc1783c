"""Grassmann manifolds against 60-digit arithmetic, scipy and theorems; frames, coincidence and the cut locus."""

import math
from typing import Any

import geoopt
import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from isometry.manifolds import Euclidean, Grassmann, Product
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds._polar import polar_factor
from isometry.manifolds.testing import assert_close_points, assert_on_manifold, assert_small
from isometry.trainers.optim import RiemannianAdam, RiemannianSGD
from tests.manifolds import reference_grassmann as reference
from tests.manifolds.reference_grassmann import MP

RIGHT = math.pi / 2
EPS = torch.finfo(torch.float64).eps


def at_angles(angles: list[float], n: int = 8, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Frames of two subspaces with the given principal angles, each turned at random."""
    k = len(angles)
    space = random_orthogonal(n, dtype=torch.float64)
    theta = torch.tensor(angles, dtype=torch.float64)
    left, right = (random_orthogonal(k, dtype=torch.float64) for _ in range(2))
    y = space[:, :k] * theta.cos() + space[:, k : 2 * k] * theta.sin()
    return (space[:, :k] @ left).to(dtype), (y @ right).to(dtype)


def vectors(m: Grassmann, x: Tensor, length: float = 1.0) -> Tensor:
    u = m.proju(x, torch.randn_like(x))
    return length * u / m.norm(x, u, keepdim=True)


# --- the reference -------------------------------------------------------------------------------------------------


def test_the_reference_agrees_with_itself() -> None:
    """The logarithm, by principal vectors, inverts the exponential, by projectors, and both know the distance."""
    x = reference.frame(torch.randn(6, 2, dtype=torch.float64))
    u = reference.tangent(x, torch.randn(6, 2, dtype=torch.float64) / 4)
    y = reference.expmap(x, u)
    assert MP.norm(y.T * y - MP.eye(2)) < 1e-55
    assert MP.norm(reference.logmap(x, y) - u) < 1e-55
    assert abs(reference.dist(x, y) - MP.norm(u)) < 1e-55
    v = reference.tangent(x, torch.randn(6, 2, dtype=torch.float64))
    moved = reference.transp_follow_expmap(x, u, v)
    assert MP.norm(y.T * moved) < 1e-55
    assert abs(MP.norm(moved) - MP.norm(v)) < 1e-55


# Relative to d: 16 units in the last place, and the rounding of the frames, which moves a point by a few eps.
ANGLES = [
    [1e-8, 4e-9, 2e-9],
    [1e-6, 4e-7, 2e-7],
    [1e-4, 4e-5, 2e-5],
    [1e-2, 4e-3, 2e-3],
    [1.0, 0.4, 0.2],
    [0.8, 0.8, 0.8],
    [0.8, 0.8, 0.8 + 1e-9],
    [0.8, 0.0, 0.0],
    [1.2, 1e-3, 1e-7],
    [RIGHT - 1e-4, 0.4, 0.2],
    [RIGHT - 1e-6, 0.4, 0.2],
    [RIGHT - 1e-8, 0.4, 0.2],
]


@pytest.mark.parametrize("angles", ANGLES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_distance_log_and_gradient_are_the_references(angles: list[float], dtype: torch.dtype) -> None:
    m, eps = Grassmann(8, 3), torch.finfo(dtype).eps
    x, y = (p.requires_grad_() for p in at_angles(angles, dtype=dtype))
    at_x, at_y = reference.frame(x), reference.frame(y)
    d, u, v = reference.dist(at_x, at_y), reference.logmap(at_x, at_y), reference.logmap(at_y, at_x)
    bound = 16 * eps + 4 * eps / float(d)
    dist, log = m.dist(x, y), m.logmap(x, y)
    gradients = torch.autograd.grad(dist, (x, y))
    if float(d) < 4 * 3**0.5 * eps:  # float32 cannot tell these points apart
        assert not any(result.any() for result in (dist, log, *gradients))
        return
    assert abs(float(dist.item() / d - 1)) < bound
    assert float(MP.norm(reference.matrix(log.detach()) - u) / d) < bound
    for gradient, expected in zip(gradients, (u, v), strict=True):
        assert float(MP.norm(reference.matrix(gradient) + expected / d)) < bound


def test_exp_and_transport_are_the_references() -> None:
    m = Grassmann(8, 3)
    x = m.random(8, 3, dtype=torch.float64)
    for length in (1e-9, 1e-3, 1.0, 1.5, 6.0):
        u, v = vectors(m, x, length), vectors(m, x)
        at = reference.frame(x)
        exact_u = reference.tangent(at, u)
        y = m.expmap(x, u)
        assert_small(y - reference.floats(reference.expmap(at, exact_u)), 16 * EPS * max(1, length), "exp")
        if length < RIGHT:
            moved = reference.floats(reference.transp_follow_expmap(at, exact_u, reference.tangent(at, v)))
            assert_small(m.transp(x, y, v) - moved, 32 * EPS, "transport")


# --- theorems ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), [(7, 3), (5, 4), (4, 1)])
def test_principal_angles_are_scipys(n: int, k: int) -> None:
    m = Grassmann(n, k)
    x, y = m.random(4, n, k, dtype=torch.float64), m.random(4, n, k, dtype=torch.float64)
    angles = m.principal_angles(x, y)
    for a, b, ours in zip(x.numpy(), y.numpy(), angles, strict=True):
        assert np.allclose(scipy.linalg.subspace_angles(a, b)[::-1], ours.numpy(), rtol=0, atol=4e-8)
    assert_small(m.dist(x, y) - angles.norm(dim=-1), 16 * EPS, "d^2 - sum of squared angles")


@pytest.mark.parametrize("angles", ANGLES, ids=str)
def test_principal_angles_are_exact_when_small_and_when_right(angles: list[float]) -> None:
    x, y = at_angles(angles)
    exact = reference.principal_angles(reference.frame(x), reference.frame(y))
    ours = Grassmann(8, 3).principal_angles(x, y)
    assert_small(ours - torch.tensor([float(a) for a in exact], dtype=torch.float64), 8 * EPS, "principal angles")


def test_random_subspaces_are_uniform() -> None:
    """``E P = k/n`` and ``E P_11^2 = k (k + 2) / (n (n + 2))`` for the projector P; a beta distribution's moments."""
    n, k, count = 6, 2, 40000
    x = Grassmann(n, k).random(count, n, k, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    projector = x @ x.mT
    first, second = k / n, k * (k + 2) / (n * (n + 2))
    deviation = (second - first**2) ** 0.5 / count**0.5
    assert_small(projector.mean(0) - first * torch.eye(n), 5 * deviation, "mean projector")
    assert_small(projector[:, 0, 0].square().mean() - second, 5 * deviation, "second moment")


def test_a_line_is_a_pair_of_antipodes() -> None:
    """``Grassmann(n, 1)`` is the sphere with x and -x identified."""
    m = Grassmann(5, 1)
    x, y = m.random(9, 5, 1, dtype=torch.float64), m.random(9, 5, 1, dtype=torch.float64)
    cosine = (x * y).sum((-2, -1)).abs()
    assert_small(m.dist(x, y) - cosine.arccos(), 16 * EPS, "angle of lines")
    assert_small(m.dist(x, -x), 0.0, "distance from x to -x")


def test_complements_are_as_far_apart() -> None:
    """The orthogonal complement is an isometry from Grassmann(n, k) to Grassmann(n, n - k)."""
    space = [random_orthogonal(7, dtype=torch.float64) for _ in range(2)]
    near = Grassmann(7, 2).dist(space[0][:, :2], space[1][:, :2])
    far = Grassmann(7, 5).dist(space[0][:, 2:], space[1][:, 2:])
    assert_small(near - far, 16 * EPS, "distance of complements")


# --- frames --------------------------------------------------------------------------------------------------------


def test_results_belong_to_subspaces_and_follow_the_frame() -> None:
    m = Grassmann(8, 3)
    x, y = m.random(4, 8, 3, dtype=torch.float64), m.random(4, 8, 3, dtype=torch.float64)
    u, v = vectors(m, x), vectors(m, x)
    q, r = random_orthogonal(3, dtype=torch.float64), random_orthogonal(3, dtype=torch.float64)
    assert_small(m.dist(x @ q, y @ r) - m.dist(x, y), 16 * EPS, "distance")
    assert_small(m.logmap(x @ q, y @ r) - m.logmap(x, y) @ q, 64 * EPS, "log")
    assert_small(m.expmap(x @ q, u @ q) - m.expmap(x, u) @ q, 16 * EPS, "exp")
    assert_small(m.retr(x @ q, u @ q) - m.retr(x, u) @ q, 16 * EPS, "retraction")
    assert_small(m.transp(x @ q, y @ r, v @ q) - m.transp(x, y, v) @ r, 64 * EPS, "transport")
    for mine, turned in zip(m.retr_transp(x, u, v), m.retr_transp(x @ q, u @ q, v @ q), strict=True):
        assert_small(turned - mine @ q, 16 * EPS, "retraction with transport")


@pytest.mark.parametrize(("n", "k"), [(2, 1), (8, 3), (64, 16), (300, 32)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_another_frame_of_the_same_subspace_is_the_same_point(n: int, k: int, dtype: torch.dtype) -> None:
    m = Grassmann(n, k)
    x = m.random(20, n, k, dtype=dtype)
    y = (x @ random_orthogonal(k, dtype=dtype)).requires_grad_()
    for value in (m.dist(x, y), m.dist2(x, y), m.logmap(x, y)):
        assert not value.any()
    for f in (m.dist, m.dist2):
        assert not torch.autograd.grad(f(x, y).sum(), y)[0].any()


def test_log_leads_to_the_subspace_also_at_the_cut_locus() -> None:
    m = Grassmann(8, 3)
    for angles in ([RIGHT, 0.3, 0.2], [RIGHT, RIGHT, 0.2], [RIGHT] * 3, [RIGHT, 0, 0]):
        for dtype in (torch.float32, torch.float64):
            x, y = (p.requires_grad_() for p in at_angles(angles, dtype=dtype))
            eps = torch.finfo(dtype).eps
            u = m.logmap(x, y)
            assert_close_points(m, m.expmap(x, u), y, atol=32 * eps)
            for f, size in ((m.dist(x, y), 1.0), (m.dist2(x, y), 2 * math.hypot(*angles))):
                gradients = torch.autograd.grad(f, (x, y), create_graph=True)
                for p, gradient in zip((x, y), gradients, strict=True):
                    assert_small(m.norm(p, gradient) - size, 32 * eps, "length of the gradient")
                    assert m.tangent_residual(p, gradient) < 16 * eps
                second = torch.autograd.grad(sum(g.sum() for g in gradients), (x, y))
                assert all(s.isfinite().all() for s in second)
            assert_small(m.dist(x, y) - math.hypot(*angles), 16 * eps, "distance")


def test_derivatives_at_equal_angles_are_those_of_finite_differences() -> None:
    """Autograd of a singular value decomposition is not a number here."""
    m = Grassmann(8, 3)
    for angles in ([0.7, 0.7, 0.7], [0.7, 0.7, 0.0], [0.3, 0.3 + 1e-9, 0.3 - 1e-9]):
        x, y = (p.requires_grad_() for p in at_angles(angles))
        for f in (m.dist2, m.logmap):
            on = lambda a, b, f=f: f(m.projx(a), m.projx(b))  # noqa: E731
            torch.autograd.gradcheck(on, (x, y), fast_mode=True)
            torch.autograd.gradgradcheck(on, (x, y), fast_mode=True)


def test_a_frame_is_repaired_by_projx_whatever_its_condition() -> None:
    m = Grassmann(8, 3)
    x = torch.randn(8, 3) @ torch.diag(torch.tensor([1.0, 1e-3, 1e-5]))
    assert_on_manifold(m, m.projx(x), atol=8 * torch.finfo(torch.float32).eps)
    z = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(polar_factor, z)
    torch.autograd.gradgradcheck(polar_factor, z)


def test_nan_stays_where_it_is() -> None:
    m = Grassmann(5, 2)
    x, y = m.random(3, 5, 2), m.random(3, 5, 2)
    x[1, 0, 0] = math.nan
    for result in (m.dist(x, y), m.logmap(x, y), m.expmap(x, y), m.retr(x, y), m.transp(x, y, y), m.projx(x)):
        assert [bool(part.isnan().any()) for part in result] == [False, True, False]


# --- training ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [geoopt.optim.RiemannianSGD, RiemannianSGD])
def test_a_step_is_the_geodesic_of_the_gradient(optimizer: type) -> None:
    """To the third order, as the retraction is of second order; all classes of a head in one step."""
    m = Grassmann(9, 3)
    start = m.random(5, 9, 3, dtype=torch.float64)
    target = torch.randn(9, 9, dtype=torch.float64)
    for rate in (1e-2, 1e-3):
        weight = geoopt.ManifoldParameter(start.clone(), manifold=m)
        (weight.mT @ (target + target.T) @ weight).diagonal(dim1=-2, dim2=-1).sum().backward()
        steps = optimizer([weight], lr=rate)
        steps.step()
        gradient = m.proju(start, 2 * (target + target.T) @ start)
        length = rate * m.norm(start, gradient)
        assert_small(m.dist(weight, m.expmap(start, -rate * gradient)) / length**3, 0.5, "step - geodesic")
        assert_small(m.dist(weight, start) / length - 1, float(length.max()) ** 2, "length of the step")


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (RiemannianSGD, {"lr": 0.1}),
        (RiemannianSGD, {"lr": 0.1, "momentum": 0.9}),
        (RiemannianAdam, {"lr": 0.1}),
        (RiemannianAdam, {"lr": 0.1, "decoupled_weight_decay": True}),
        (geoopt.optim.RiemannianSGD, {"lr": 0.1}),
        (geoopt.optim.RiemannianAdam, {"lr": 0.1}),
    ],
    ids=str,
)
def test_weight_decay_does_nothing_to_subspaces(optimizer: type, options: dict[str, float]) -> None:
    """``|x|^2/2 = k/2`` is constant: its gradient x is normal to the tangent space, and projected away."""
    m = Grassmann(9, 3)
    start = m.random(5, 9, 3, dtype=torch.float64)
    results = []
    for decay in (0.0, 0.5):
        weight = geoopt.ManifoldParameter(start.clone(), manifold=m)
        steps = optimizer([weight], weight_decay=decay, **options)
        for _ in range(3):
            steps.zero_grad()
            (weight.mT @ torch.diag(torch.arange(9.0).double()) @ weight).diagonal(dim1=-2, dim2=-1).sum().backward()
            steps.step()
        results.append(weight.detach())
    assert float(m.dist(results[0], start).min()) > 0.1
    assert_close_points(m, *results, atol=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [(RiemannianSGD, {"lr": 0.1, "momentum": 0.9}), (RiemannianAdam, {"lr": 0.03}), (RiemannianAdam, {"lr": 3.0})],
    ids=str,
)
def test_a_thousand_steps_find_the_dominant_subspace_and_keep_the_frame(
    optimizer: type, options: dict[str, float]
) -> None:
    """The minimizer of ``-tr(x^T A x)`` is the space of the largest eigenvalues (Courant & Fischer)."""
    m = Grassmann(9, 3)
    weight = geoopt.ManifoldParameter(m.random(4, 9, 3), manifold=m)
    steps = optimizer([weight], **options)
    spectrum = torch.linspace(0, 1, 9)
    for _ in range(1000):
        steps.zero_grad()
        (-(weight * weight * spectrum.unsqueeze(-1)).sum()).backward()
        steps.step()
    assert_on_manifold(m, weight, atol=1e-6)
    if options["lr"] < 1:  # the last case only jumps about
        assert_close_points(m, weight, torch.eye(9)[:, 6:].expand(4, 9, 3), atol=1e-3)


def test_it_is_a_factor_of_products() -> None:
    m = Product([Grassmann(4, 2), Euclidean(3)])
    assert (m.dim, m.point_shape) == (7, (11,))
    x, y = m.random(5, 11, dtype=torch.float64), m.random(5, 11, dtype=torch.float64)
    assert_close_points(m, m.expmap(x, m.logmap(x, y)), y, atol=1e-13)
    with pytest.raises(ValueError, match="does not determine a Grassmann manifold"):
        m.with_dim(8)


@pytest.mark.parametrize(("n", "k"), [(3, 3), (3, 0), (1, 1), (3, 4)])
def test_bad_sizes_are_refused(n: int, k: int) -> None:
    with pytest.raises(ValueError, match=rf"expected subspaces of dimension 1 <= k < n, but got n={n}, k={k}"):
        Grassmann(n, k)


def test_sizes_tell_manifolds_apart() -> None:
    assert Grassmann(5, 2) == Grassmann(5, 2)
    assert Grassmann(5, 2) != Grassmann(5, 3)
    with pytest.raises(ValueError, match=r"Grassmann\(n=5, k=2\): dim=7 does not determine"):
        Grassmann(5, 2).with_dim(7)


# --- peers ---------------------------------------------------------------------------------------------------------


@pytest.mark.peers
def test_pymanopt_agrees() -> None:
    from pymanopt.manifolds import Grassmann as Peer

    m, peer = Grassmann(8, 3), Peer(8, 3)
    x = m.random(8, 3, dtype=torch.float64)
    u, v = vectors(m, x), vectors(m, x)
    y = m.expmap(x, u)
    a, b, tangent = x.numpy(), y.numpy(), u.numpy()
    assert np.allclose(peer.dist(a, b), m.dist(x, y).item(), rtol=0, atol=1e-7)
    assert np.allclose(peer.log(a, b), m.logmap(x, y).numpy(), rtol=0, atol=1e-12)
    assert np.allclose(peer.inner_product(a, tangent, v.numpy()), m.inner(x, u, v).item(), rtol=0, atol=1e-14)
    for theirs, ours in ((peer.exp(a, tangent), y), (peer.retraction(a, tangent), m.retr(x, u))):
        assert_close_points(m, torch.from_numpy(theirs), ours, atol=1e-14)


@pytest.mark.peers
def test_geomstats_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """On projectors, ``P = x x^T`` and ``u x^T + x u^T``, whose metric is twice ours."""
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    from geomstats.geometry.grassmannian import Grassmannian

    m, peer = Grassmann(6, 2), Grassmannian(6, 2).metric
    x = m.random(6, 2, dtype=torch.float64)
    u, v = vectors(m, x), vectors(m, x)
    y = m.expmap(x, u)

    def point(p: Tensor) -> Any:
        return (p @ p.mT).numpy()

    def vector(p: Tensor, w: Tensor) -> Any:
        return (w @ p.mT + p @ w.mT).numpy()

    assert np.allclose(peer.exp(vector(x, u), point(x)), point(y), rtol=0, atol=1e-12)
    assert np.allclose(peer.log(point(y), point(x)), vector(x, m.logmap(x, y)), rtol=0, atol=1e-12)
    moved = peer.parallel_transport(vector(x, v), point(x), end_point=point(y))
    assert np.allclose(moved, vector(y, m.transp(x, y, v)), rtol=0, atol=1e-12)
    ratio = peer.squared_dist(point(x), point(y)) / m.dist2(x, y).item()
    assert np.isclose(ratio, peer.inner_product(vector(x, u), vector(x, u), point(x)))
