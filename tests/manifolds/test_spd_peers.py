"""Other libraries' geometries of positive definite matrices: the same numbers where theirs are right, and where not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.manifolds._spd import SPD
from tests.manifolds.reference_spd import matrix
from tests.manifolds.spd_cases import GEOMETRIES, N, name, pair

pytestmark = pytest.mark.peers
Distance = Callable[[Tensor, Tensor], Tensor]


def distances(m: SPD, monkeypatch: pytest.MonkeyPatch) -> dict[str, Distance]:
    """The peers that have this metric."""
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # which geomstats 2.8 takes from numpy 1
    import geoopt
    import pyriemann.utils.distance as pyriemann
    import spd_learn.functional.metrics as spd_learn
    from geomstats.geometry.spd_matrices import SPDAffineMetric, SPDLogEuclideanMetric, SPDMatrices

    def by_geomstats(metric: Any) -> Distance:
        return lambda x, y: torch.as_tensor(metric(SPDMatrices(N, equip=False)).dist(x.numpy(), y.numpy()))

    return {
        "SPDAffineInvariant": {
            "geoopt": geoopt.SymmetricPositiveDefinite("AIM").dist,
            "geomstats": by_geomstats(SPDAffineMetric),
            "pyriemann": pyriemann.distance_riemann,
            "spd_learn": spd_learn.airm_distance,
        },
        "SPDLogEuclidean": {
            "geoopt": geoopt.SymmetricPositiveDefinite("LEM").dist,
            "geomstats": by_geomstats(SPDLogEuclideanMetric),
            "pyriemann": pyriemann.distance_logeuclid,
            "spd_learn": spd_learn.log_euclidean_distance,
        },
        "SPDLogCholesky": {
            "pyriemann": pyriemann.distance_logchol,
            "spd_learn": spd_learn.log_cholesky_distance,
        },
    }[type(m).__name__]


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
def test_all_agree_on_far_pairs_of_small_condition(m: SPD, reference: object, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = pair(10.0, None, seed=0)
    for peer in distances(m, monkeypatch).values():
        torch.testing.assert_close(peer(x, y).squeeze(), m.dist(x, y), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
def test_peers_lose_seven_digits_of_close_pairs(m: SPD, reference: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At distance 1e-6 and condition 1e4: their best error is 2e4 times our worst."""
    ours, theirs = [], []
    for seed in range(4):
        x, y = pair(1e4, 1e-6, seed)
        expected = reference.dist(matrix(x), matrix(y))
        ours.append(abs(float(m.dist(x, y)) / expected - 1))
        theirs.append([abs(float(peer(x, y)) / expected - 1) for peer in distances(m, monkeypatch).values()])
    assert max(ours) < 1e-12
    assert min(map(max, zip(*theirs, strict=True))) > 1e-8


# Which peers' gradients are not numbers at coincident points; an entry is to be removed when a peer mends it.
NAN_AT_THE_IDENTITY = {
    ("SPDAffineInvariant", "geoopt"),
    ("SPDAffineInvariant", "pyriemann"),
    ("SPDAffineInvariant", "spd_learn"),
    ("SPDLogEuclidean", "geoopt"),
    ("SPDLogEuclidean", "pyriemann"),
    ("SPDLogCholesky", "pyriemann"),
    ("SPDLogCholesky", "spd_learn"),
}


@pytest.mark.parametrize(("m", "reference"), GEOMETRIES, ids=name)
def test_peers_gradients_at_coincident_points(m: SPD, reference: object, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.eye(N, dtype=torch.float64).requires_grad_()
    assert not torch.autograd.grad(m.dist(x, x.detach().clone()), x)[0].any()
    for peer, f in distances(m, monkeypatch).items():
        if peer == "geomstats":
            continue  # on its numpy backend it has no gradients
        (gradient,) = torch.autograd.grad(f(x, x.detach().clone()).sum(), x)
        assert gradient.isnan().any() == ((type(m).__name__, peer) in NAN_AT_THE_IDENTITY), peer


def test_far_pairs_of_large_condition_are_lost_by_eigenvalues_of_the_whitened_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At condition 1e8 peers keep 2 to 5 digits, we 10."""
    m, reference = GEOMETRIES[0]
    x, y = pair(1e8, None, seed=0)
    expected = reference.dist(matrix(x), matrix(y))
    assert abs(float(m.dist(x, y)) / expected - 1) < 1e-9
    for peer in distances(m, monkeypatch).values():
        assert not abs(float(peer(x, y)) / expected - 1) < 1e-6
