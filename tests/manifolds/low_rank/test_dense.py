"""Tensors of fixed rank as dense points: the conformance suite where it needs no geodesics, and optimizers."""

import copy
import json
from typing import Any, ClassVar

import geoopt
import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import (
    FixedRankDense,
    FixedRankMatrix,
    FixedRankTT,
    FixedRankTucker,
    TreeTensorNetwork,
)
from isometry.manifolds.testing import Case
from isometry.manifolds.testing.points import PointTests
from isometry.manifolds.testing.torch_features import built
from isometry.trainers import optim
from tests.manifolds.low_rank.suite import assert_small, noise

MANIFOLDS = [
    FixedRankDense(FixedRankMatrix(5, 4), 2),
    FixedRankDense(FixedRankTucker((4, 3, 2)), (2, 2, 2)),
    FixedRankDense(FixedRankTT((3, 4, 3)), 2),
    FixedRankDense(TreeTensorNetwork((3, 2, 3, 2)), 2),
]
ALL = pytest.mark.parametrize("m", MANIFOLDS, ids=str)


class TestConformance(PointTests):
    """Facts, samples, checks, projections and the metric; the suite's other parts are about geodesics."""

    manifolds: ClassVar = [Case(m, reach=0.2, cond=16.0 * len(m.ranks)) for m in MANIFOLDS]  # a decomposition per rank

    def test_facts(self, case: Case) -> None:
        m = case.manifold
        assert m.ndim == len(m.point_shape)
        assert 1 <= m.dim <= m.random(*m.point_shape).numel()
        assert m.injectivity_radius() == 0

    def test_inner_drops_the_point_dimensions_and_broadcasts(self, case: Case) -> None:
        m, x = case.manifold, case.points(5, 1)
        u = m.proju(x, case.tangents(case.points(5, 3)))
        assert u.shape == (5, 3, *m.point_shape)
        for value, kept in [(m.inner(x, u), m.inner(x, u, keepdim=True)), (m.norm(x, u), m.norm(x, u, keepdim=True))]:
            assert value.shape == (5, 3)
            assert torch.equal(kept, value.reshape(5, 3, *(1,) * m.ndim))
        assert m.inner(x, torch.zeros(m.point_shape, dtype=x.dtype)).shape == (5, 1)
        for result in (m.retr(x, u), m.transp(x, x.expand_as(u), u), m.egrad2rgrad(x, u)):
            assert result.shape == u.shape


def step(m: FixedRankDense, length: float) -> tuple[Tensor, Tensor]:
    x = m.random(5, *m.point_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = m.proju(x, noise(x.shape, torch.float64, 1))
    return x, length * u / m.norm(x, u, keepdim=True)


@ALL
def test_the_retraction_is_of_second_order(m: FixedRankDense) -> None:
    x, u = step(m, 0.04)
    normal, tangential = [], []
    for h in (1.0, 0.5):
        rest = m.retr(x, h * u) - x - h * u
        inside = m.proju(x, rest)
        normal.append(float((rest - inside).norm()))
        tangential.append(float(inside.norm()))
    assert 3.5 < normal[0] / normal[1] < 4.5
    assert 6 < tangential[0] / tangential[1] < 10
    assert m.point_residual(m.retr(x, u)).max() < 1e-14
    assert_small(m.retr(x, 0 * u) - x, 1e-14)


@ALL
def test_short_vectors_at_long_points_are_exact(m: FixedRankDense) -> None:
    x, u = step(m, 1e-20)
    assert_small(m.proju(1e20 * x, u) / 1e-20 - u / 1e-20, 1e-13)


@ALL
def test_transport_lands_in_the_tangent_space(m: FixedRankDense) -> None:
    x, u = step(m, 0.1)
    y, v = m.retr_transp(x, u, u)
    assert m.tangent_residual(y, v).max() < 1e-13
    assert_small(m.transp(x, x, u) - u, 1e-14)


@pytest.mark.parametrize(
    ("m", "optimizer", "options", "steps"),
    [(m, kind.RiemannianSGD, {"lr": 0.5}, 20) for m in MANIFOLDS for kind in (geoopt.optim, optim)]
    + [(MANIFOLDS[0], geoopt.optim.RiemannianSGD, {"lr": 0.1, "momentum": 0.9}, 100)]
    + [(m, kind.RiemannianAdam, {"lr": 0.02}, 150) for m in MANIFOLDS[:1] for kind in (geoopt.optim, optim)],
)
def test_optimizers_find_a_tensor_of_the_manifold(
    m: FixedRankDense, optimizer: type, options: dict[str, Any], steps: int
) -> None:
    x, u = step(m, 0.3)
    target = m.retr(x, u)[0]
    point = geoopt.ManifoldParameter(x[0].clone(), manifold=m)
    opt = optimizer([point], **options)
    for _ in range(steps):
        opt.zero_grad()
        (0.5 * (point - target).square().sum()).backward()
        opt.step()
    assert (point - target).norm() < 0.02 * (x[0] - target).norm()
    assert m.point_residual(point.detach()) < 1e-13


@ALL
def test_identity(m: FixedRankDense) -> None:
    spec = json.loads(json.dumps(m.spec))
    again = built(spec)
    assert again.spec == m.spec
    assert again == copy.deepcopy(m) == m
    assert hash(again) == hash(m)
    assert m not in [other for other in MANIFOLDS if other is not m]
    with pytest.raises(ValueError, match="checkpoint was written for the manifold"):
        MANIFOLDS[MANIFOLDS.index(m) - 1].load_state_dict(m.state_dict())


def test_what_is_not_offered() -> None:
    m = MANIFOLDS[0]
    x, u = step(m, 0.1)
    for f in (lambda: m.expmap(x, u), lambda: m.logmap(x, x), lambda: m.dist(x, x), lambda: m.geodesic(0.5, x, x)):
        with pytest.raises(NotImplementedError, match="closed form"):
            f()
    with pytest.raises(ValueError, match="does not determine"):
        m.with_dim(7)
    for low_rank, ranks in [(FixedRankMatrix(5, 4), 6), (FixedRankTucker((4, 3, 3)), (3, 1, 1))]:
        with pytest.raises(ValueError, match="expected ranks"):
            FixedRankDense(low_rank, ranks)
