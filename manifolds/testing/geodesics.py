"""Geodesics: exp, log, distance and transport fit together, at every length of step."""

import torch

from isometry.manifolds.testing.assertions import assert_close_points, assert_on_manifold, assert_small, assert_tangent
from isometry.manifolds.testing.case import Case
from isometry.manifolds.testing.collection import GeneratedTests, where


class GeodesicTests(GeneratedTests):
    """Relative errors are at most ``cond * eps / r`` for steps ``r = eps^p``."""

    def test_a_step_has_its_length(self, case: Case, dtype: torch.dtype, power: float) -> None:
        m = case.manifold
        x, u = case.step(dtype, power)
        y, length = m.expmap(x, u), m.norm(x, u)
        assert_on_manifold(m, y, atol=case.bound(dtype))
        assert_small(m.dist(x, y) / length - 1, case.bound(dtype, power), "d(x, exp_x(u)) / |u| - 1")
        assert_small(m.dist(y, x) / length - 1, case.bound(dtype, power), "symmetry of the distance")

    def test_log_inverts_exp(self, case: Case, dtype: torch.dtype, power: float) -> None:
        m = case.manifold
        x, u = case.step(dtype, power)
        v = m.logmap(x, m.expmap(x, u))
        assert_tangent(m, x, v, atol=case.bound(dtype))
        assert_small(m.norm(x, v - u) / m.norm(x, u), case.bound(dtype, power), "log_x(exp_x(u)) - u")

    def test_exp_inverts_log(self, case: Case, dtype: torch.dtype, power: float) -> None:
        m = case.manifold
        x, y = case.pair(dtype, power)
        assert_close_points(m, m.expmap(x, m.logmap(x, y)), y, atol=case.bound(dtype))

    def test_dist_dist2_and_log_agree(self, case: Case, dtype: torch.dtype, power: float) -> None:
        m = case.manifold
        x, y = case.pair(dtype, power)
        square, bound = m.dist2(x, y), 2 * case.bound(dtype, power)
        assert_small(m.inner(x, m.logmap(x, y)) / square - 1, bound, "|log_x(y)|^2 / d^2 - 1")
        assert_small(m.dist(x, y).square() / square - 1, bound, "dist^2 / dist2 - 1")

    def test_transport_to_and_from_the_origin(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.points(8, dtype=dtype)
        origin, u = m.origin(*m.point_shape, dtype=dtype), case.tangents(x)
        v = m.transp(x, origin, u)
        at_origin, at_x = m.transp_to_origin(x, u) - v, m.transp_from_origin(x, v) - m.transp(origin, x, v)
        assert_small(m.norm(origin, m.proju(origin, at_origin)), 4 * case.bound(dtype), "transport to the origin")
        assert_small(m.norm(x, m.proju(x, at_x)), 4 * case.bound(dtype), "transport from the origin")

    def test_transport_is_linear_and_ends_in_the_tangent_space(
        self, case: Case, dtype: torch.dtype, power: float
    ) -> None:
        m = case.manifold
        x, y = case.pair(dtype, power)
        v, w = case.tangents(x, seed=2), case.tangents(x, seed=3)
        moved = m.transp(x, y, v)
        assert_tangent(m, y, moved, atol=case.bound(dtype))
        difference = m.transp(x, y, 2 * v - w) - (2 * moved - m.transp(x, y, w))
        assert_small(m.norm(y, difference), 4 * case.bound(dtype), "linearity")

    @where(lambda manifold: manifold.parallel)
    def test_transport_is_isometric_and_carries_the_velocity(
        self, case: Case, dtype: torch.dtype, power: float
    ) -> None:
        m = case.manifold
        x, u = case.step(dtype, power)
        y = m.expmap(x, u)
        v, w = case.tangents(x, seed=2), case.tangents(x, seed=3)
        moved = m.transp(x, y, v)
        change = m.inner(y, moved, m.transp(x, y, w)) - m.inner(x, v, w)
        assert_small(change, case.bound(dtype), "change of <v, w>")
        assert_small(m.norm(x, m.transp(y, x, moved) - v), case.bound(dtype), "there and back")
        velocity = m.norm(y, m.transp(x, y, u) + m.logmap(y, x)) / m.norm(x, u)
        assert_small(velocity, case.bound(dtype, power), "transported velocity + log_y(x)")

    @where(lambda manifold: manifold.parallel)
    def test_transport_in_two_stages_is_transport(self, case: Case, dtype: torch.dtype) -> None:
        m = case.manifold
        x, y = case.pair(dtype)
        v, between = case.tangents(x, seed=2), m.geodesic(0.4, x, y)
        difference = m.transp(between, y, m.transp(x, between, v)) - m.transp(x, y, v)
        assert_small(m.norm(y, difference), 2 * case.bound(dtype), "transport in two stages")

    @where(lambda manifold: manifold.parallel)
    def test_short_transport_is_the_pole_ladders(self, case: Case) -> None:
        """The ladder uses exp and log alone and is right to second order (exact on symmetric spaces; Pennec 2018)."""
        m, dtype = case.manifold, torch.float64
        x, y = case.pair(dtype, 1 / 4)
        v = case.tangents(x, seed=2)
        height = case.reach * torch.finfo(dtype).eps ** (1 / 4)
        end = m.expmap(x, height * v)
        pole = m.expmap(end, 2 * m.logmap(end, m.geodesic(0.5, x, y)))
        ladder = -m.logmap(y, pole) / height
        assert_small(m.norm(y, m.transp(x, y, v) - ladder), case.bound(dtype, 1 / 2), "transport - pole ladder")

    def test_geodesic_has_constant_speed(self, case: Case, dtype: torch.dtype) -> None:
        m, (x, y) = case.manifold, case.pair(dtype)
        bound, length = case.bound(dtype), m.dist(x, y)
        assert_close_points(m, m.geodesic(0.0, x, y), x, atol=bound)
        assert_close_points(m, m.geodesic(1.0, x, y), y, atol=bound)
        t = torch.linspace(0, 1, 5, dtype=dtype).unsqueeze(-1)
        points = m.geodesic(t, x, y)
        assert points.shape == (5, *x.shape)
        assert_small(m.dist(x, points) - t * length, bound, "d(x, c(t)) - t d(x, y)")
        assert_small(m.dist(points, y) - (1 - t) * length, bound, "d(c(t), y) - (1 - t) d(x, y)")

    def test_retraction_is_of_second_order(self, case: Case) -> None:
        m, dtype = case.manifold, torch.float64
        x, u = case.step(dtype, 1 / 4)  # u^3 = eps^(3/4), far below u^2
        assert_close_points(m, m.retr(x, u), m.expmap(x, u), atol=case.bound(dtype, 1 / 4))

    def test_combined_operations_are_their_parts(self, case: Case, dtype: torch.dtype) -> None:
        m, (x, u) = case.manifold, case.step(dtype, 0.0)
        v, bound = case.tangents(x, seed=2), case.bound(dtype)
        for combined, follow, step in [
            (m.expmap_transp, m.transp_follow_expmap, m.expmap),
            (m.retr_transp, m.transp_follow_retr, m.retr),
        ]:
            y, moved = combined(x, u, v)
            assert_close_points(m, y, step(x, u), atol=bound)
            assert_small(m.norm(y, moved - m.transp(x, y, v)), bound, "transported vector")
            assert_small(m.norm(y, follow(x, u, v) - moved), bound, "transport alone")

    def test_coincident_points(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.points(8, dtype=dtype)
        v, zero = case.tangents(x), torch.zeros_like(x)
        for exact in (m.dist(x, x), m.dist2(x, x), m.logmap(x, x)):
            assert not exact.any(), "d(x, x) or log_x(x) is not exactly 0"
        assert_close_points(m, m.expmap(x, zero), x, atol=case.bound(dtype))
        assert_small(m.norm(x, m.transp(x, x, v) - v), case.bound(dtype), "transport from x to x")
