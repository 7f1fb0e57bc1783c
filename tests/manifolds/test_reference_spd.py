"""The references agree with the axioms of a Riemannian metric, with each other and with one-dimensional formulas."""

import numpy as np
import pytest

from tests.manifolds.reference_spd import (
    MP,
    AffineInvariant,
    BuresWasserstein,
    Geometry,
    LogCholesky,
    LogEuclidean,
    Matrix,
    derivative,
    function,
    product,
    size,
)

GEOMETRIES = [AffineInvariant(), LogEuclidean(), LogCholesky(), BuresWasserstein()]
EXACT = MP.mpf(10) ** -35  # what the difference quotients leave


def draw(n: int, seed: int) -> tuple[Matrix, Matrix, Matrix]:
    """Two points and a symmetric matrix."""
    rng = np.random.default_rng(seed)
    a, b, u = (MP.matrix(rng.standard_normal((n, n)).tolist()) for _ in range(3))
    return a * a.T + MP.eye(n) / 4, b * b.T + MP.eye(n) / 4, (u + u.T) / 2


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: type(g).__name__)
def test_exp_log_distance_and_metric_fit_together(geometry: Geometry) -> None:
    x, y, u = draw(3, seed=0)
    log = geometry.logmap(x, y)
    assert size(geometry.expmap(x, log) - y) < EXACT
    assert abs(geometry.norm(x, log) - geometry.dist(x, y)) < EXACT
    assert abs(geometry.dist(x, y) - geometry.dist(y, x)) < EXACT
    assert size(derivative(lambda v: geometry.expmap(x, v), x * 0, u) - u) < EXACT


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: type(g).__name__)
def test_the_gradient_of_the_distance_is_minus_the_unit_log(geometry: Geometry) -> None:
    x, y, u = draw(3, seed=1)
    slope = product(geometry.dist_egrad(x, y), u)
    assert abs(slope + geometry.inner(x, geometry.logmap(x, y), u) / geometry.dist(x, y)) < EXACT


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: type(g).__name__)
def test_geodesics_are_the_solutions_of_least_length(geometry: Geometry) -> None:
    """``d(x, c(s)) + d(c(s), y) = d(x, y)`` along the geodesic, and more for a point beside it."""
    x, y, u = draw(3, seed=2)
    middle = geometry.expmap(x, geometry.logmap(x, y) / 3)
    total = geometry.dist(x, y)
    assert abs(geometry.dist(x, middle) - total / 3) < EXACT
    assert abs(geometry.dist(middle, y) - 2 * total / 3) < EXACT
    beside = middle + u / 100
    assert geometry.dist(x, beside) + geometry.dist(beside, y) > total


def test_commuting_matrices_are_numbers() -> None:
    """``|log y/x|`` for the first two metrics, half of it for Cholesky, ``|sqrt y - sqrt x|`` for Bures."""
    x, y = MP.diag([MP.mpf(2), MP.mpf(1) / 3]), MP.diag([MP.mpf(5), MP.mpf(7)])
    logs = size(function(y, MP.log) - function(x, MP.log))
    roots = size(function(y, MP.sqrt) - function(x, MP.sqrt))
    for geometry, expected in zip(GEOMETRIES, [logs, logs, logs / 2, roots], strict=True):
        assert abs(geometry.dist(x, y) - expected) < EXACT


@pytest.mark.parametrize("geometry", [AffineInvariant(), LogEuclidean(), LogCholesky()], ids=lambda g: type(g).__name__)
def test_transport_is_isometric_and_carries_the_velocity(geometry: AffineInvariant | LogEuclidean) -> None:
    x, y, v = draw(3, seed=3)
    moved = geometry.transp(x, y, v)
    assert abs(geometry.inner(y, moved, moved) - geometry.inner(x, v, v)) < EXACT
    assert size(geometry.transp(x, y, geometry.logmap(x, y)) + geometry.logmap(y, x)) < EXACT
