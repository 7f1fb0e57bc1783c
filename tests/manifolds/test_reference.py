"""The references agree with each other, with geometry's theorems and with geoopt where geoopt is accurate."""

import geoopt
import numpy as np
import pytest
import torch

from tests.manifolds.reference import (
    MP,
    Lorentz,
    PoincareBall,
    Real,
    Sphere,
    Vector,
    ball_to_lorentz,
    ball_to_lorentz_tangent,
    vector,
)

CURVATURE = 0.37
MANIFOLDS = [PoincareBall(1.0), PoincareBall(CURVATURE), Lorentz(1.0), Lorentz(CURVATURE), Sphere()]
EXACT = MP.mpf(10) ** -60  # what 120 digits leave at radius 30
Reference = PoincareBall | Lorentz | Sphere


def name(manifold: Reference) -> str:
    return f"{type(manifold).__name__}-{MP.nstr(getattr(manifold, 'c', MP.mpf(1)), 3)}"


def length(v: Vector) -> Real:
    return MP.sqrt(v @ v)


def draw(manifold: Reference, seed: int, radius: float = 1.0, separation: float = 1.0) -> tuple[Vector, ...]:
    """Two points, the first at the given distance from the origin, and a tangent vector at the first."""
    rng = np.random.default_rng(seed)
    origin = manifold.origin(3)

    def tangent(x: Vector, size: float) -> Vector:
        u = manifold.tangent(origin, rng.standard_normal(len(origin)))
        return manifold.transp(origin, x, u * (size / manifold.norm(origin, u)))

    x = manifold.expmap(origin, tangent(origin, radius))
    return x, manifold.expmap(x, tangent(x, separation)), tangent(x, 1.0)


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=name)
@pytest.mark.parametrize(("radius", "separation"), [(1.0, 1.0), (1.0, 1e-9), (30.0, 1e-6), (0.01, 3.0)])
def test_identities_of_geodesics(manifold: Reference, radius: float, separation: float) -> None:
    x, y, v = draw(manifold, seed=0, radius=radius, separation=separation)
    u, back = manifold.logmap(x, y), manifold.logmap(y, x)
    assert abs(manifold.dist(x, y) - separation) < EXACT
    assert abs(manifold.norm(x, u) - separation) < EXACT
    assert length(manifold.expmap(x, u) - y) < EXACT
    assert length(manifold.transp(x, y, u) + back) < EXACT
    moved = manifold.transp(x, y, v)
    assert abs(manifold.inner(y, moved, moved) - manifold.inner(x, v, v)) < EXACT
    assert length(manifold.transp(y, x, moved) - v) < EXACT


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=name)
def test_gradient_of_distance_is_minus_the_unit_log(manifold: Reference) -> None:
    x, y, v = draw(manifold, seed=1, radius=5.0)
    gradient = manifold.egrad2rgrad(x, manifold.dist_egrad(x, y))
    assert length(gradient + manifold.logmap(x, y) / manifold.dist(x, y)) < EXACT
    slope = MP.diff(lambda t: manifold.dist(manifold.expmap(x, v * t), y), 0)
    assert abs(manifold.inner(x, gradient, v) - slope) < MP.mpf(10) ** -30  # a finite difference


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=name)
def test_coincident_points_give_exact_zeros(manifold: Reference) -> None:
    x, _, v = draw(manifold, seed=2, radius=1.0)
    assert manifold.dist(x, x) == 0
    for zero in (manifold.logmap(x, x), manifold.dist_egrad(x, x), manifold.expmap(x, v * 0) - x):
        assert length(zero) == 0
    assert length(manifold.transp(x, x, v) - v) < EXACT


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=name)
def test_pythagoras(manifold: Reference) -> None:
    """cosh c = cosh a cosh b in units of the curvature radius; on the sphere, cos."""
    x, _, u = draw(manifold, seed=3)
    _, _, v = draw(manifold, seed=4)
    v = manifold.tangent(x, v)
    v = v - u * (manifold.inner(x, u, v) / manifold.inner(x, u, u))
    scale, cosine = (MP.mpf(1), MP.cos) if isinstance(manifold, Sphere) else (manifold.sqrt_c, MP.cosh)
    a, b = MP.mpf("0.7"), MP.mpf("1.1")
    corners = [manifold.expmap(x, w * (size / manifold.norm(x, w))) for w, size in ((u, a), (v, b))]
    assert abs(cosine(scale * manifold.dist(*corners)) - cosine(scale * a) * cosine(scale * b)) < EXACT


@pytest.mark.parametrize("manifold", MANIFOLDS, ids=name)
def test_holonomy_of_a_triangle_is_its_angle_defect(manifold: Reference) -> None:
    """Gauss-Bonnet in two dimensions: a transport around a triangle turns by pi minus the angle sum."""
    rng = np.random.default_rng(5)
    origin = manifold.origin(2)
    a, b, c = (manifold.expmap(origin, manifold.tangent(origin, rng.standard_normal(len(origin)))) for _ in range(3))

    def angle(x: Vector, y: Vector, z: Vector) -> Real:
        u, v = manifold.logmap(x, y), manifold.logmap(x, z)
        return MP.acos(manifold.inner(x, u, v) / (manifold.norm(x, u) * manifold.norm(x, v)))

    u = manifold.logmap(a, b)
    turned = manifold.transp(c, a, manifold.transp(b, c, manifold.transp(a, b, u)))
    turn = MP.acos(manifold.inner(a, u, turned) / manifold.inner(a, u, u))
    assert abs(turn - abs(MP.pi - angle(a, b, c) - angle(b, c, a) - angle(c, a, b))) < EXACT


@pytest.mark.parametrize("c", [1.0, CURVATURE])
@pytest.mark.parametrize(("radius", "separation"), [(1.0, 1.0), (30.0, 1e-6), (30.0, 40.0)])
def test_ball_and_hyperboloid_are_isometric(c: float, radius: float, separation: float) -> None:
    ball, lorentz = PoincareBall(c), Lorentz(c)
    x, y, v = draw(ball, seed=6, radius=radius, separation=separation)
    x_image, y_image = ball_to_lorentz(x, c), ball_to_lorentz(y, c)
    v_image = ball_to_lorentz_tangent(x, v, c)
    assert abs(lorentz.form(x_image, x_image) + 1 / lorentz.c) < EXACT
    assert abs(lorentz.dist(x_image, y_image) - ball.dist(x, y)) < EXACT
    pairs = [
        (v_image, lorentz.tangent(x_image, v_image)),
        (ball_to_lorentz_tangent(x, ball.logmap(x, y), c), lorentz.logmap(x_image, y_image)),
        (ball_to_lorentz(ball.expmap(x, v), c), lorentz.expmap(x_image, v_image)),
        (ball_to_lorentz_tangent(y, ball.transp(x, y, v), c), lorentz.transp(x_image, y_image, v_image)),
    ]
    for through_ball, direct in pairs:
        assert length(through_ball - direct) < EXACT * (1 + length(direct))


@pytest.mark.parametrize(
    ("manifold", "peer"),
    [
        (PoincareBall(CURVATURE), geoopt.PoincareBall(torch.tensor(CURVATURE, dtype=torch.float64))),
        (Lorentz(CURVATURE), geoopt.Lorentz(torch.tensor(1 / CURVATURE, dtype=torch.float64))),
        (Sphere(), geoopt.Sphere()),
    ],
    ids=["PoincareBall", "Lorentz", "Sphere"],
)
def test_agrees_with_geoopt_at_moderate_radius(manifold: Reference, peer: geoopt.Manifold) -> None:
    x, y, v = draw(manifold, seed=7)

    def floats(w: Vector) -> torch.Tensor:
        return torch.tensor([float(value) for value in w], dtype=torch.float64)

    pairs = [
        (peer.dist(floats(x), floats(y)), [manifold.dist(x, y)]),
        (peer.logmap(floats(x), floats(y)), manifold.logmap(x, y)),
        (peer.expmap(floats(x), floats(v)), manifold.expmap(x, v)),
    ]
    if not isinstance(manifold, Sphere):  # geoopt's transport on the sphere is a projection
        pairs.append((peer.transp(floats(x), floats(y), floats(v)), manifold.transp(x, y, v)))
    for theirs, ours in pairs:
        expected = floats(vector(ours)).reshape(theirs.shape)
        torch.testing.assert_close(theirs.detach(), expected, rtol=1e-9, atol=1e-9)


def test_floats_are_taken_exactly_and_put_on_the_manifold() -> None:
    assert vector(torch.tensor([0.1]))[0] == MP.mpf(13421773) / 2**27  # the float32 nearest to 0.1
    assert vector([0.1])[0] == MP.mpf(3602879701896397) / 2**55  # the float64
    point = Lorentz(CURVATURE).point([123.0, 3.0, 4.0])
    assert abs(point[0] - MP.sqrt(1 / MP.mpf(CURVATURE) + 25)) < EXACT
    assert Lorentz().tangent(Lorentz().point([0.0, 0.0, 0.0]), [5.0, 1.0, 2.0])[0] == 0
    assert length(Sphere().point([0.0, 3.0, 4.0]) * 5 - vector([0, 3, 4])) < EXACT


@pytest.mark.parametrize("x", [[1.0, 0.0], [2.0, 0.0], [float("nan"), 0.0]])
def test_points_outside_the_ball_are_refused(x: list[float]) -> None:
    with pytest.raises(ValueError, match=r"c \|x\|\^2 < 1"):
        PoincareBall().point(x)


def test_antipodal_points_are_pi_apart_and_have_no_log() -> None:
    sphere = Sphere()
    x = sphere.point([0.3, 0.4, 0.5])
    assert sphere.dist(x, -x) == MP.pi
    with pytest.raises(ValueError, match="antipodal"):
        sphere.logmap(x, -x)
