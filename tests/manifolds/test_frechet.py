"""The Frechet mean against closed forms, an independent minimization and finite differences."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call, jvp, vmap

from isometry.manifolds import Euclidean, Lorentz, Manifold, PoincareBall, SPDAffineInvariant, Sphere, frechet_mean
from isometry.manifolds.testing import Case, assert_close_points, assert_small

CURVATURE = 0.37
MANIFOLDS = [Euclidean(3), Sphere(3), PoincareBall(3, c=CURVATURE), Lorentz(3, c=CURVATURE)]
on_each_manifold = pytest.mark.parametrize("manifold", MANIFOLDS, ids=repr)


def cloud(manifold: Manifold, count: int, spread: float = 1.0) -> Tensor:
    """Points within ``spread`` of a point near the origin."""
    case = Case(manifold, radius=0.5)
    centre = case.points(1).expand(count, *manifold.point_shape)
    return manifold.expmap(centre, case.tangents(centre, spread))


@on_each_manifold
@pytest.mark.parametrize("share", [0.5, 0.1, 0.9])
def test_mean_of_two_points_lies_on_their_geodesic(manifold: Manifold, share: float) -> None:
    x = cloud(manifold, 2)
    mean = frechet_mean(manifold, x, torch.tensor([1 - share, share], dtype=x.dtype))
    assert_close_points(manifold, mean, manifold.geodesic(share, x[0], x[1]), atol=1e-14)


@on_each_manifold
def test_derivatives_for_two_points_are_the_geodesics(manifold: Manifold) -> None:
    """First and second derivatives, in the points and in the weights, against the closed form."""
    x, weights = cloud(manifold, 2), torch.tensor([0.3, 0.7], dtype=torch.float64)

    def implicit(x: Tensor, w: Tensor) -> Tensor:
        return frechet_mean(manifold, manifold.projx(x), w)

    def closed(x: Tensor, w: Tensor) -> Tensor:
        a, b = manifold.projx(x)
        return manifold.geodesic(w[1] / w.sum(), a, b)

    for first, exact in zip(*(jacobian(f, (x, weights)) for f in (implicit, closed)), strict=True):
        torch.testing.assert_close(first, exact, rtol=1e-11, atol=1e-11)
    second, exact = (hessian(lambda *z, f=f: f(*z).sin().sum(), (x, weights)) for f in (implicit, closed))
    torch.testing.assert_close(second, exact, rtol=1e-11, atol=1e-11)


def test_euclidean_mean_is_the_weighted_average() -> None:
    x, w = torch.randn(4, 7, 3, dtype=torch.float64), torch.rand(4, 7, dtype=torch.float64)
    expected = (w.unsqueeze(-1) * x).sum(1) / w.sum(1, keepdim=True)
    torch.testing.assert_close(frechet_mean(Euclidean(3), x, w), expected, rtol=0, atol=1e-14)


def textbook_sphere(z: Tensor, x: Tensor) -> Tensor:
    """The distances by arccos from the point on the ray of z."""
    return (x @ (z / z.norm())).arccos()


def textbook_ball(z: Tensor, x: Tensor) -> Tensor:
    """The distances by arcosh (Nickel & Kiela 2017, equation 1) for curvature -c."""
    c = CURVATURE
    ratio = (x - z).square().sum(-1) / ((1 - c * z.square().sum()) * (1 - c * x.square().sum(-1)))
    return (1 + 2 * c * ratio).arccosh() / math.sqrt(c)


def textbook_lorentz(z: Tensor, x: Tensor) -> Tensor:
    """The distances by arcosh of the Minkowski product from the point with the spatial part of z."""
    time = (1 / CURVATURE + z[1:].square().sum()).sqrt()
    return (CURVATURE * (x[:, 0] * time - x[:, 1:] @ z[1:])).arccosh() / math.sqrt(CURVATURE)


@pytest.mark.parametrize(
    ("manifold", "distances"),
    [(MANIFOLDS[1], textbook_sphere), (MANIFOLDS[2], textbook_ball), (MANIFOLDS[3], textbook_lorentz)],
    ids=lambda value: getattr(value, "__name__", None) or repr(value),
)
def test_mean_is_the_minimum_that_a_general_optimizer_finds(
    manifold: Manifold, distances: Callable[[Tensor, Tensor], Tensor]
) -> None:
    x, w = cloud(manifold, 6), torch.rand(6, dtype=torch.float64)
    z = x[0].clone().requires_grad_()
    with torch.no_grad():
        z += 0.01  # the textbook formulas have no derivative at a data point
    optimizer = torch.optim.LBFGS(
        [z], max_iter=200, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = (w * distances(z, x).square()).sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    # The minimum of a function known to eps is known to the square root of eps.
    assert_close_points(manifold, frechet_mean(manifold, x, w), manifold.projx(z.detach()), atol=1e-7)


@on_each_manifold
def test_derivatives_are_those_of_finite_differences(manifold: Manifold) -> None:
    inputs = (cloud(manifold, 4).requires_grad_(), (torch.rand(4, dtype=torch.float64) + 0.1).requires_grad_())

    def mean(x: Tensor, w: Tensor) -> Tensor:
        return frechet_mean(manifold, manifold.projx(x), w)

    gradcheck(mean, inputs)
    gradgradcheck(mean, inputs, fast_mode=True)


@pytest.mark.parametrize("kind", [PoincareBall, Lorentz])
def test_derivative_in_the_curvature(kind: type[PoincareBall] | type[Lorentz]) -> None:
    manifold = kind(2, c=CURVATURE, learnable=True)
    x = cloud(manifold, 4).detach()

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.manifold = manifold

        def forward(self) -> Tensor:
            return frechet_mean(self.manifold, self.manifold.projx(x))

    log_c = torch.tensor([math.log(CURVATURE)], dtype=torch.float64, requires_grad=True)
    gradcheck(lambda value: functional_call(Mean(), {"manifold.log_c": value}, ()), log_c)


@on_each_manifold
def test_batches_weights_and_order(manifold: Manifold) -> None:
    x = torch.stack([cloud(manifold, 5, spread) for spread in (0.2, 1.0)])
    w = torch.rand(2, 5, dtype=torch.float64) + 0.1
    mean = frechet_mean(manifold, x, w)
    one_by_one = torch.stack([frechet_mean(manifold, *pair) for pair in zip(x, w, strict=True)])
    twice = torch.cat([w / 2, w / 2], 1)
    for other in (
        one_by_one,
        vmap(lambda x, w: frechet_mean(manifold, x, w))(x, w),
        frechet_mean(manifold, x.flip(1), 100 * w.flip(1)),
        frechet_mean(manifold, torch.cat([x, x], 1), twice),
    ):
        assert_close_points(manifold, other, mean, atol=1e-13)
    alone = torch.zeros(2, 5, dtype=torch.float64)
    alone[:, 2] = 3
    assert_close_points(manifold, frechet_mean(manifold, x, alone), x[:, 2], atol=1e-13)


@on_each_manifold
def test_derivative_at_equal_points_is_the_weight(manifold: Manifold) -> None:
    x = cloud(manifold, 1).expand(3, *manifold.point_shape).contiguous()
    w = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    v = Case(manifold).tangents(x)
    change = (jacobian(lambda x: frechet_mean(manifold, x, w), x) * v).sum((-2, -1))
    expected = (w.unsqueeze(-1) * v).sum(0)
    assert_small(manifold.norm(x[0], manifold.proju(x[0], change) - expected), 1e-13, "derivative of the mean")


@pytest.mark.parametrize("kind", [PoincareBall, Lorentz])
def test_mean_of_a_wide_cloud(kind: type[PoincareBall] | type[Lorentz]) -> None:
    manifold = kind(4)
    x = manifold.expmap(manifold.origin(30, *manifold.point_shape), 10 * manifold.origin_vector(torch.randn(30, 4)))
    mean = frechet_mean(manifold, x.double())
    field = manifold.logmap(mean, x.double()).mean(0)
    assert_small(manifold.norm(mean, field), 1e-10, "sum of the logs")


def test_clouds_of_every_width_converge() -> None:
    """The curvature along and across the directions to the points differs by their distance."""
    manifold = Lorentz(4)
    for spread in (1e-6, 0.3, 1.0, 3.0):
        u = spread * manifold.origin_vector(torch.randn(20, 30, 4, dtype=torch.float64))
        x = manifold.expmap(manifold.origin(20, 30, 5, dtype=torch.float64), u)
        mean = frechet_mean(manifold, x)
        field = manifold.logmap(mean.unsqueeze(1), x).mean(1)
        assert_small(manifold.norm(mean, field) / spread, 1e-13 * math.exp(3 * spread), "mean of the logs")


@pytest.mark.parametrize("manifold", [Sphere(900), SPDAffineInvariant(30)], ids=repr)
def test_high_dimensions(manifold: Manifold) -> None:
    """Hessians of 900 and 465 rows, which are never formed: the optimum, and its derivative in a random direction."""
    centre = manifold.random(1, *manifold.point_shape, dtype=torch.float64)
    v, change = (manifold.proju(centre, torch.randn(32, *manifold.point_shape).double()) for _ in range(2))
    length = manifold.norm(centre, v, keepdim=True)

    def cloud(t: float | Tensor) -> Tensor:
        return manifold.expmap(centre, (v + t * change) / length)

    mean = frechet_mean(manifold, cloud(0))
    assert_small(manifold.norm(mean, manifold.logmap(mean, cloud(0)).mean(0)), 1e-13, "mean of the logs")

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    gradcheck(lambda t: (frechet_mean(manifold, cloud(t)) * change[0]).sum(), t)


def test_second_derivatives_need_no_third_ones_of_the_logarithm() -> None:
    """The spectral functions behind this manifold have only two."""
    manifold = SPDAffineInvariant(3)
    inputs = (manifold.random(4, 3, 3).double().requires_grad_(), torch.rand(4).double().add(0.1).requires_grad_())
    gradgradcheck(lambda x, w: frechet_mean(manifold, manifold.projx(x), w), inputs, fast_mode=True)


@pytest.mark.parametrize("manifold", [*MANIFOLDS, SPDAffineInvariant(2)], ids=repr)
def test_forward_mode_is_reverse_mode(manifold: Manifold) -> None:
    x, w = cloud(manifold, 4), torch.rand(4, dtype=torch.float64) + 0.1
    v, g = manifold.proju(x, torch.randn_like(x)), torch.randn_like(x[0])
    value, change = jvp(lambda x: frechet_mean(manifold, x, w), (x,), (v,))
    reverse = jacobian(lambda x: (frechet_mean(manifold, x, w) * g).sum(), x)
    torch.testing.assert_close((change * g).sum(), (reverse * v).sum(), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(value, frechet_mean(manifold, x, w), rtol=1e-13, atol=1e-13)


def test_compiles_as_one_graph() -> None:
    manifold = SPDAffineInvariant(2)

    def value_and_gradient(mean: Callable[..., Tensor]) -> list[Tensor]:
        x = cloud(manifold, 4).requires_grad_()
        value = mean(manifold, x)
        return [value, *torch.autograd.grad(value.sin().sum(), x)]

    compiled = value_and_gradient(torch.compile(frechet_mean, backend="aot_eager", fullgraph=True))
    torch.testing.assert_close(compiled, value_and_gradient(frechet_mean), rtol=1e-13, atol=1e-13)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="expected points"):
        frechet_mean(Euclidean(3), torch.randn(3))
    with pytest.raises(ValueError, match="n >= 1"):
        frechet_mean(Euclidean(3), torch.randn(2, 0, 3))
    with pytest.raises(ValueError, match="point ends in dimensions"):
        frechet_mean(Euclidean(3), torch.randn(2, 4))
