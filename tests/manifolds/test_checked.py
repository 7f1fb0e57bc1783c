"""Checked manifolds refuse what is wrong, with the numbers, and change nothing else."""

import re
from collections.abc import Callable

import pytest
import torch

from isometry.manifolds import (
    Checked,
    Euclidean,
    HeatKernelManifold,
    Lorentz,
    OffManifoldError,
    Product,
    ShapeError,
    Sphere,
    Torus,
)
from isometry.manifolds.testing.operations import OPERATIONS

MANIFOLDS = [Sphere(3), Lorentz(3), Torus(2), Product([Sphere(2), Euclidean(2)])]
S = Checked(Sphere(2))
X = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
U = torch.tensor([[0.0, 0.5, 0.0], [0.5, 0.0, 0.5]])


def arguments(m: Checked, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    x, y = (m.random(5, *m.point_shape, dtype=dtype) for _ in range(2))
    return [x, y, *(m.proju(x, torch.randn_like(x)) for _ in range(2))]


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_right_calls_are_unchanged(manifold: Sphere, dtype: torch.dtype) -> None:
    m = Checked(manifold)
    inputs = arguments(m, dtype)
    for operation in OPERATIONS.values():
        assert torch.equal(operation(m, *inputs), operation(manifold, *inputs))
    x, _, u, v = inputs
    for name in ("expmap_transp", "retr_transp"):
        for a, b in zip(getattr(m, name)(x, u, v), getattr(manifold, name)(x, u, v), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: S.dist(X, 2 * X),
            "Checked(Sphere(dim=2)).dist: argument 'y': point residual 1.0e+00 > tolerance 1e-05 at 2 of 2",
        ),
        (
            lambda: S.expmap(X, X),
            "expmap: argument 'u': tangent residual 1.0e+00 > tolerance 1e-05 at 2 of 2; project with `proju`",
        ),
        (lambda: S.inner(X, U, v=X), "inner: argument 'v': tangent residual"),
        (lambda: S.transp(X, X.flip(0), U + X), "transp: argument 'v': tangent residual"),
        (lambda: S.expmap(X, torch.nan * U), "expmap: argument 'u': 6 of 6 numbers are NaN"),
        (lambda: S.egrad2rgrad(X, torch.nan * U), "egrad2rgrad: argument 'u': 6 of 6 numbers are NaN"),
        (lambda: S.geodesic(torch.tensor(torch.nan), X, X), "geodesic: argument 't': 1 of 1 numbers are NaN"),
        (lambda: S.frechet_mean(3 * X), "frechet_mean: argument 'x': point residual 2.0e+00"),
        (lambda: S.projx(0 * X), "projx: result: 6 of 6 numbers are NaN"),
    ],
)
def test_wrong_values_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(OffManifoldError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: S.dist(X, X[:, :2]), "Checked(Sphere(dim=2)).dist: argument 'y': "),
        (lambda: S.projx(X[:, :2]), "a vector ends in dimensions (3,), but the tensor has shape (2, 2)"),
        (lambda: S.expmap(X, U[0, :2]), "a vector ends in dimensions (3,), but the tensor has shape (2,)"),
        (lambda: S.random(5), "give the full shape, batch first"),
    ],
)
def test_wrong_shapes_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        call()


class Leaky(Sphere):
    """A sphere whose operations are wrong in the ways that a check of the results finds."""

    def expmap(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return x + u

    def logmap(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return y - x

    def transp(self, x: torch.Tensor, y: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return v

    def dist(self, x: torch.Tensor, y: torch.Tensor, *, keepdim: bool = False) -> torch.Tensor:
        return torch.nan * x.sum(-1, keepdim=keepdim)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.expmap(X, U), "expmap: result: point residual"),
        (lambda m: m.retr(X, U), "retr: result: point residual"),
        (lambda m: m.logmap(X, X.flip(0)), "logmap: result: tangent residual 7.1e-01"),
        (lambda m: m.transp(X, X.flip(0), U), "transp: result: tangent residual"),
        (lambda m: m.expmap_transp(X, 0 * U, X.flip(0)), None),
        (lambda m: m.dist(X, X), "dist: result: 2 of 2 numbers are NaN"),
    ],
)
def test_wrong_results_are_refused(call: Callable[[Checked], object], message: str | None) -> None:
    if message is None:
        call(Checked(Leaky(2)))
    else:
        with pytest.raises(OffManifoldError, match=re.escape(message)):
            call(Checked(Leaky(2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_that_are_rounding_noise_pass(dtype: torch.dtype) -> None:
    """The log between points one float apart, and the gradient of a function of the norm, have no direction."""
    x = torch.tensor([[0.6, 0.8, 0.0]], dtype=dtype)
    y = torch.nextafter(x, 2 * x)
    assert S.logmap(x, y).abs().max() < 1e-6
    assert S.norm(x, S.logmap(x, y)) < 1e-6
    assert S.egrad2rgrad(x, 1e6 * x).abs().max() < 1


def test_points_are_looked_at_in_eager_mode_only() -> None:
    """Under vmap and compilation there are no values; the results are the manifold's."""
    x, y, u, _ = arguments(S)
    plain = Sphere(2)
    assert torch.equal(torch.func.vmap(S.dist)(x, y), plain.dist(x, y))
    assert torch.equal(torch.compile(S.expmap, backend="aot_eager", fullgraph=True)(x, u), plain.expmap(x, u))
    torch.func.vmap(S.dist)(x, 2 * y)


def test_capabilities_and_geometry_are_the_manifolds() -> None:
    m = Checked(Torus(2))
    assert m.supports(HeatKernelManifold)
    assert not S.supports(HeatKernelManifold)
    x, y = m.random(2, 4, 2)
    t = torch.ones(4)
    assert torch.equal(m.heat_kernel_log_prob(t, x, y), Torus(2).heat_kernel_log_prob(t, x, y))
    with pytest.raises(OffManifoldError, match="heat_kernel_log_prob: argument 'y': point residual"):
        m.heat_kernel_log_prob(t, x, y + 20)


def test_gradients_and_learnable_curvature_pass_through() -> None:
    ball = Lorentz(2, learnable=True)
    m = Checked(ball)
    x, y, *_ = [z.detach() for z in arguments(m)]
    gradients = [torch.autograd.grad(f.dist(x, y).sum(), ball.log_c)[0] for f in (m, ball)]
    assert torch.equal(*gradients)
    c_old = m.c
    with torch.no_grad():
        ball.log_c.add_(1.0)
    m.assert_check_point_on_manifold(m.rescale(x, c_old))
