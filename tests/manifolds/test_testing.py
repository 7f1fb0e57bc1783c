"""The conformance suite itself: it catches broken manifolds, and makes tests only where they apply."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.manifolds import Euclidean, HeatKernelManifold, PoincareBall, ShapeError, Sphere
from isometry.manifolds.testing import (
    Case,
    ManifoldSuite,
    assert_close_points,
    assert_isometry,
    assert_on_manifold,
    assert_small,
    assert_tangent,
)

# What a fault does to the sphere, and the test that finds it.
FAULTS: list[tuple[str, Callable[..., Any], str, dict[str, Any]]] = []


def fault(test: str, **arguments: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a faulty version of the method of the same name."""

    def register(method: Callable[..., Any]) -> Callable[..., Any]:
        FAULTS.append((method.__name__, method, test, arguments))
        return method

    return register


F64 = {"dtype": torch.float64}


@fault("test_transport_is_isometric_and_carries_the_velocity", power=0.0, **F64)
def transp(self: Sphere, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    return self.proju(y, v)


@fault("test_short_transport_is_the_pole_ladders")
@fault("test_transport_in_two_stages_is_transport", **F64)
def transp(self: Sphere, x: Tensor, y: Tensor, v: Tensor) -> Tensor:  # noqa: F811
    """Isometric, and right for the velocity, but turned about it by the angle that was travelled."""
    moved, axis = Sphere.transp(self, x, y, v), -Sphere.logmap(self, y, x)
    length = axis.norm(dim=-1, keepdim=True)
    along = axis / length * (axis / length * moved).sum(-1, keepdim=True)
    across = moved - along
    return along + across * length.square().cos() + torch.linalg.cross(y, across) * length.sin()


@fault("test_log_inverts_exp", power=0.25, **F64)
def logmap(self: Sphere, x: Tensor, y: Tensor) -> Tensor:
    return self.proju(x, y - x)


@fault("test_a_step_has_its_length", power=0.5, **F64)
@fault("test_coincident_points", **F64)
def dist(self: Sphere, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
    return (x * y).sum(-1, keepdim=keepdim).clamp(-1 + 1e-7, 1 - 1e-7).arccos()


@fault("test_gradient_at_coincident_points_is_zero", **F64)
@fault("test_derivatives_are_finite_at_coincident_points", operation="norm", **F64)
def norm(self: Sphere, x: Tensor, u: Tensor, *, keepdim: bool = False) -> Tensor:
    return u.square().sum(-1, keepdim=keepdim).sqrt()


@fault("test_inner_drops_the_point_dimensions_and_broadcasts")
def inner(self: Sphere, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
    return (u * (u if v is None else v)).sum(-1, keepdim=True)


@fault("test_hessian_of_the_squared_distance_is_twice_the_metric")
@fault("test_gradient_of_the_squared_distance", power=0.0, **F64)
@fault("test_frame_at_the_origin_is_orthonormal", **F64)
def inner(self: Sphere, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:  # noqa: F811
    return 2 * Sphere.inner(self, x, u, v, keepdim=keepdim)


@fault("test_egrad2rgrad_represents_the_differential", **F64)
def egrad2rgrad(self: Sphere, x: Tensor, u: Tensor) -> Tensor:
    return u


@fault("test_derivatives_are_those_of_finite_differences", operation="expmap")
def expmap(self: Sphere, x: Tensor, u: Tensor) -> Tensor:
    return Sphere.expmap(self, x, u.detach())


@fault("test_retraction_is_of_second_order")
def retr(self: Sphere, x: Tensor, u: Tensor) -> Tensor:
    return self.projx(x + u + u.norm(dim=-1, keepdim=True) * u.roll(1, -1))


@fault("test_mean_is_optimal", **F64)
def frechet_mean(self: Sphere, x: Tensor, weights: Tensor | None = None) -> Tensor:
    return self.projx(x.mean(-2))


@fault("test_derivatives_of_the_mean_are_those_of_finite_differences")
def frechet_mean(self: Sphere, x: Tensor, weights: Tensor | None = None) -> Tensor:  # noqa: F811
    return Sphere.frechet_mean(self, x.detach(), weights)


@fault("test_with_dim_has_the_dimension_asked_for_or_refuses")
def with_dim(self: Sphere, dim: int) -> Sphere:
    return type(self)(dim + 1)


@fault("test_log_det_exp_is_autograds")
def log_det_exp(self: Sphere, x: Tensor, u: Tensor) -> Tensor:
    return Sphere.log_det_exp(self, x, u) * 2


@fault("test_isometries_keep_distances_and_geodesics")
def act(self: Sphere, g: Tensor, x: Tensor) -> Tensor:
    return self.projx(x @ g.mT + 0.1)


@fault("test_projx", **F64)
@fault("test_samples_are_points_of_the_shape_asked_for", **F64)
def projx(self: Sphere, x: Tensor) -> Tensor:
    return x / (x.norm(dim=-1, keepdim=True) + 1e-6)


@fault("test_signatures_are_the_bases")
def proju(self: Sphere, x: Tensor, u: Tensor, extra: int = 0) -> Tensor:
    return Sphere.proju(self, x, u)


@fault("test_compiles_as_one_graph")
@fault("test_vmap_is_the_batch", operation="dist2")
def dist2(self: Sphere, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
    return Sphere.dist2(self, x, y, keepdim=keepdim) if x.sum() > 0 else Sphere.dist2(self, y, x, keepdim=keepdim)


@pytest.mark.parametrize(
    ("name", "method", "test", "arguments"), FAULTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_suite_finds_a_fault(name: str, method: Callable[..., Any], test: str, arguments: dict[str, Any]) -> None:
    case = Case(Sphere(2))
    getattr(ManifoldSuite(), test)(case, **arguments)
    broken = Case(type("Broken", (Sphere,), {name: method})(2))
    with pytest.raises(Exception):  # noqa: B017, PT011, any failure will do
        getattr(ManifoldSuite(), test)(broken, **arguments)


def test_tests_exist_only_for_capabilities_that_a_case_has() -> None:
    class Spheres(ManifoldSuite):
        manifolds = (Sphere(2), PoincareBall(2, learnable=True))

    class Lines(ManifoldSuite):
        manifolds = (Euclidean(1),)

    assert Spheres.test_heat_kernel_solves_the_heat_equation is None
    assert Lines.test_heat_kernel_solves_the_heat_equation is not None
    assert Lines.test_derivatives_in_the_parameters is None
    assert [str(case) for case in Spheres.cases_of(ManifoldSuite.test_derivatives_in_the_parameters)] == [
        repr(PoincareBall(2, learnable=True))
    ]
    assert not Spheres.cases_of(ManifoldSuite.test_heat_kernel_solves_the_heat_equation)
    assert Lines.cases[0].manifold.supports(HeatKernelManifold)


def test_an_empty_suite_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one manifold"):
        type("Empty", (ManifoldSuite,), {"manifolds": ()})


def test_assertions() -> None:
    sphere, x = Sphere(2), Sphere(2).random(4, 3, dtype=torch.float64)
    u = sphere.proju(x, torch.randn(4, 3, dtype=torch.float64))
    assert_on_manifold(sphere, x)
    assert_tangent(sphere, x, u)
    assert_close_points(sphere, x, sphere.projx(2 * x))
    assert_isometry(sphere, lambda p: p.roll(1, -1), x[:2], x[2:], atol=1e-12)
    assert_isometry(sphere, lambda p: torch.cat([p, 0 * p[..., :1]], -1), x[:2], x[2:], target=Sphere(3))
    for wrong, message in [
        (lambda: assert_small(torch.tensor([0.0, float("nan")]), 1.0, "number"), "number: error nan > bound"),
        (
            lambda: assert_on_manifold(sphere, 2 * x),
            r"Sphere\(dim=2\): point residual: error 1.00e\+00 > bound 1.00e-05",
        ),
        (lambda: assert_tangent(sphere, x, u + x), "tangent residual"),
        (lambda: assert_close_points(sphere, x, -x), "distance of points that should agree: error 3.14e"),
        (lambda: assert_isometry(sphere, lambda p: sphere.projx(p + 1), x[:2], x[2:]), "change of the distance"),
    ]:
        with pytest.raises(AssertionError, match=message):
            wrong()
    with pytest.raises(ShapeError):
        assert_on_manifold(sphere, x[:, :2])
