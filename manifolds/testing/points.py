"""Facts, samples, checks, projections and the metric."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from isometry.manifolds.base import Manifold
from isometry.manifolds.errors import OffManifoldError, ShapeError
from isometry.manifolds.testing.assertions import assert_on_manifold, assert_small, assert_tangent
from isometry.manifolds.testing.case import Case
from isometry.manifolds.testing.collection import GeneratedTests
from isometry.manifolds.testing.frames import basis, gram_matrix


def parameters_of(method: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Return the names, kinds and defaults of a method's parameters."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]


class PointTests(GeneratedTests):
    """Points, tangent vectors and inner products."""

    def test_facts(self, case: Case) -> None:
        m = case.manifold
        assert m.ndim == len(m.point_shape)
        assert 1 <= m.dim <= math.prod(m.point_shape)
        assert m.injectivity_radius() > 0
        assert m.name == type(m).__name__

    def test_signatures_are_the_bases(self, case: Case) -> None:
        cls = type(case.manifold)
        for name, method in inspect.getmembers(Manifold, inspect.isfunction):
            if not name.startswith("_"):
                assert parameters_of(getattr(cls, name)) == parameters_of(method), f"{cls.__name__}.{name}"

    def test_samples_are_points_of_the_shape_asked_for(self, case: Case, dtype: torch.dtype) -> None:
        m = case.manifold
        for batch in [(), (5,), (2, 3)]:
            shape = (*batch, *m.point_shape)
            for x in (m.random(*shape, dtype=dtype), m.random(shape, dtype=dtype), m.origin(*shape, dtype=dtype)):
                assert x.shape == shape
                assert x.dtype == dtype
                assert_on_manifold(m, x, atol=case.bound(dtype))
        for sample in (m.random, m.origin):
            with pytest.raises(ShapeError, match="full shape"):
                sample(2, *(n + 1 for n in m.point_shape))

    def test_samples_follow_the_generator(self, case: Case) -> None:
        first, again, other = (case.points(4, seed=seed) for seed in (3, 3, 4))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_projx(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.points(8, dtype=dtype)
        assert_small(m.projx(x) - x, case.bound(dtype), "projx of a point")
        assert_on_manifold(m, m.projx(3 * torch.randn(64, *m.point_shape, dtype=dtype)), atol=case.bound(dtype))

    def test_a_tensor_is_refused_where_projx_would_move_it(self, case: Case, dtype: torch.dtype) -> None:
        m = case.manifold
        for z in (torch.randn(*m.point_shape, dtype=dtype), torch.full(m.point_shape, 100.0, dtype=dtype)):
            if torch.allclose(m.projx(z), z):
                m.assert_check_point_on_manifold(z)
                assert m.check_point_on_manifold(z)
            else:
                assert not m.check_point_on_manifold(z)
                residual = f"{float(m.point_residual(z).detach().max()):.1e}"
                with pytest.raises(OffManifoldError, match="point residual") as error:
                    m.assert_check_point_on_manifold(z)
                assert f"residual {residual} > atol 1e-05; project with `projx`" in str(error.value)

    def test_a_vector_is_refused_where_proju_would_move_it(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.points(dtype=dtype)
        w = case.noise(x)
        if torch.allclose(m.proju(x, w), w):
            m.assert_check_vector_on_tangent(x, w)
        else:
            with pytest.raises(OffManifoldError, match=r"tangent residual .* > atol 1e-05; project with `proju`"):
                m.assert_check_vector_on_tangent(x, w)

    def test_nan_and_wrong_shapes_are_refused(self, case: Case) -> None:
        m, x = case.manifold, case.points(3)
        nan, wrong = x.clone(), torch.cat([x, x[..., :1]], -1)
        nan[1] = math.nan
        with pytest.raises(OffManifoldError, match="nan"):
            m.assert_check_point_on_manifold(nan)
        with pytest.raises(OffManifoldError, match="nan"):
            m.assert_check_vector_on_tangent(x, nan)
        with pytest.raises(ShapeError, match="point ends in dimensions"):
            m.assert_check_point_on_manifold(wrong)
        with pytest.raises(ShapeError, match="vector ends in dimensions"):
            m.assert_check_vector_on_tangent(x, wrong)

    def test_proju_is_a_linear_projection(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.points(8, dtype=dtype)
        a, b = case.noise(x, 1), case.noise(x, 2)
        u = m.proju(x, a)
        assert_tangent(m, x, u, atol=case.bound(dtype))
        assert_small(m.norm(x, m.proju(x, u) - u) / m.norm(x, u), case.bound(dtype), "projecting twice")
        difference = m.proju(x, 2 * a - b) - (2 * u - m.proju(x, b))
        assert_small(m.norm(x, difference) / m.norm(x, u), case.bound(dtype), "linearity")

    def test_inner_is_a_metric(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.points(8, dtype=dtype)
        u, v, w = (case.tangents(x, seed=seed) for seed in (1, 2, 3))
        uv, bound = m.inner(x, u, v), case.bound(dtype)
        assert_small(m.inner(x, v, u) - uv, bound, "symmetry")
        assert_small(m.inner(x, u, 2 * v - w) - (2 * uv - m.inner(x, u, w)), 4 * bound, "linearity")
        assert_small(m.inner(x, u) - m.inner(x, u, u), bound, "omitted v")
        assert_small(m.norm(x, 3 * u) - 3, 3 * bound, "norm of 3 u")
        gram = gram_matrix(m, x, basis(case, x))
        assert (torch.linalg.eigvalsh(gram) > 0).all(), "the metric is not positive definite"

    def test_inner_drops_the_point_dimensions_and_broadcasts(self, case: Case) -> None:
        m = case.manifold
        x, ones = case.points(5, 1), (1,) * m.ndim
        u = case.tangents(case.points(5, 3))
        u, v = m.proju(x, u), m.proju(x, u[:, :1])
        y = case.points(3)
        for value, kept in [
            (m.inner(x, u, v), m.inner(x, u, v, keepdim=True)),
            (m.norm(x, u), m.norm(x, u, keepdim=True)),
            (m.dist(x, y), m.dist(x, y, keepdim=True)),
            (m.dist2(x, y), m.dist2(x, y, keepdim=True)),
        ]:
            assert value.shape == (5, 3)
            assert torch.equal(kept, value.reshape(5, 3, *ones))
        assert m.inner(x, torch.zeros(m.point_shape, dtype=x.dtype)).shape == (5, 1)
        assert torch.broadcast_shapes(m.component_inner(x, u).shape, u.shape) == u.shape
        for result in (m.expmap(x, u), m.logmap(x, y), m.transp(x, y, v), m.proju(x, u), m.egrad2rgrad(x, u)):
            assert result.shape == (5, 3, *m.point_shape)
        assert m.inner(case.points(), case.tangents(case.points())).shape == ()

    def test_egrad2rgrad_represents_the_differential(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.points(8, dtype=dtype)
        g, v = case.noise(x, 2), case.tangents(x)
        gradient = m.egrad2rgrad(x, g)
        assert_tangent(m, x, gradient, atol=case.bound(dtype))
        slope = (g * v).flatten(1).sum(-1)
        scale = torch.maximum(m.norm(x, gradient), (g * v).abs().flatten(1).sum(-1))
        assert_small((m.inner(x, gradient, v) - slope) / scale, case.bound(dtype), "<grad f, v> - df(v)")
