"""The Frechet mean, isometries, frames at the origin, volume distortion and heat kernels."""

import math

import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.func import jacrev, jvp, vmap

from isometry.manifolds.base import HeatKernelManifold, HomogeneousManifold
from isometry.manifolds.testing.assertions import assert_close_points, assert_isometry, assert_small, assert_tangent
from isometry.manifolds.testing.case import Case
from isometry.manifolds.testing.collection import GeneratedTests, has
from isometry.manifolds.testing.frames import gram_matrix, orthonormal


def cloud(case: Case, dtype: torch.dtype = torch.float64, spread: float = 0.5) -> tuple[Tensor, Tensor]:
    """Return 2 sets of 5 points within ``spread * reach`` of a point, with weights."""
    centre = case.points(2, 1, dtype=dtype).expand(2, 5, *case.manifold.point_shape)
    lengths = torch.linspace(0.2, 1, 5, dtype=dtype).reshape(5, *(1,) * case.manifold.ndim)
    x = case.manifold.expmap(centre, spread * case.reach * lengths * case.tangents(centre))
    return x.detach(), torch.rand(2, 5, dtype=dtype) + 0.1


class FrechetMeanTests(GeneratedTests):
    """The minimizer of the weighted sum of squared distances."""

    def test_mean_is_optimal(self, case: Case, dtype: torch.dtype) -> None:
        m, (x, weights) = case.manifold, cloud(case, dtype)
        for w in (weights, None):
            mean = m.frechet_mean(x, w)
            assert mean.shape == (2, *m.point_shape)
            share = torch.ones_like(weights) if w is None else w
            share = (share / share.sum(-1, keepdim=True)).reshape(2, 5, *(1,) * m.ndim)
            gradient = (share * m.logmap(mean.unsqueeze(1), x)).sum(1)
            assert_small(m.norm(mean, gradient), case.bound(dtype), "sum_i w_i log_mu(x_i)")

    def test_mean_of_equal_points_is_the_point(self, case: Case, dtype: torch.dtype) -> None:
        x = case.points(2, dtype=dtype)
        mean = case.manifold.frechet_mean(x.unsqueeze(1).expand(2, 3, *case.manifold.point_shape))
        assert_close_points(case.manifold, mean, x, atol=case.bound(dtype))

    def test_derivatives_of_the_mean_are_those_of_finite_differences(self, case: Case) -> None:
        """Of its distances from five points: on a quotient the mean has many representatives, and moves among them."""
        m, (x, weights) = case.manifold, cloud(case)
        inputs = (x[:1].clone().requires_grad_(), weights[:1].requires_grad_())
        gradcheck(lambda p, w: m.dist2(m.frechet_mean(m.projx(p), w).unsqueeze(1), x[:1]), inputs, fast_mode=True)


class HomogeneousTests(GeneratedTests):
    """Isometries, the frame at the origin and the Jacobian of exp."""

    @has(HomogeneousManifold)
    def test_isometries_keep_distances_and_geodesics(self, case: Case) -> None:
        m = case.manifold
        g = m.random_isometry(torch.Generator().manual_seed(5), torch.float64)
        x, u = case.step(torch.float64, 0.0)
        y, bound = m.expmap(x, u), self._bound(case, g)
        assert_isometry(m, lambda p: m.act(g, p), x, y, atol=bound)
        image, du = jvp(lambda p: m.act(g, p), (x,), (u,))[:2]
        assert_small(m.norm(image, du) - m.norm(x, u), bound, "length of the transformed vector")
        assert_close_points(m, m.expmap(image, du), m.act(g, y), atol=bound)

    @staticmethod
    def _bound(case: Case, g: object) -> float:
        """Return the bound on errors at the images of points, which lie further out than ``case.radius``."""
        m = case.manifold
        origin = m.origin(*m.point_shape, dtype=torch.float64)
        return case.bound(torch.float64) * math.exp(min(float(m.dist(origin, m.act(g, origin)).detach()), 10.0))

    @has(HomogeneousManifold)
    def test_random_isometries_move_the_origin_and_follow_the_generator(self, case: Case) -> None:
        m = case.manifold
        origin = m.origin(*m.point_shape, dtype=torch.float64)
        a, b, c = (m.act(m.random_isometry(torch.Generator().manual_seed(s), torch.float64), origin) for s in (1, 1, 2))
        assert torch.equal(a, b)
        assert float(m.dist(a, c).detach()) > 1e-3
        assert float(m.dist(origin, a).detach()) > 1e-3

    @has(HomogeneousManifold)
    def test_frame_at_the_origin_is_orthonormal(self, case: Case, dtype: torch.dtype) -> None:
        m = case.manifold
        z = torch.randn(8, m.dim, dtype=dtype)
        u = m.origin_vector(z)
        origin = m.origin(*u.shape, dtype=dtype)
        assert_tangent(m, origin, u, atol=case.bound(dtype))
        gram = m.inner(origin.unsqueeze(1), u.unsqueeze(1), u.unsqueeze(0))
        assert_small(gram - z @ z.mT, case.bound(dtype) * float(z.square().sum(-1).max()), "<u, v> - z.w")
        assert_small(m.origin_coordinates(u) - z, case.bound(dtype), "coordinates of a vector")

    @has(HomogeneousManifold)
    def test_log_det_exp_is_autograds(self, case: Case) -> None:
        """``det^2 = det <dexp e_i, dexp e_j>_y`` for an orthonormal frame e at x."""
        m = case.manifold
        x = case.points(4)
        frame = orthonormal(case, x)
        for length in (case.reach, 1e-3 * case.reach):
            u = case.tangents(x, length, seed=99)
            slope = vmap(jacrev(m.expmap, argnums=1))(x, u).reshape(4, x[0].numel(), x[0].numel())
            y = m.expmap(x, u)
            # On a quotient the differential also moves the representative of y, which counts for nothing.
            image = m.proju(y.unsqueeze(1), (frame.reshape(4, m.dim, -1) @ slope.mT).reshape_as(frame))
            volume = torch.logdet(gram_matrix(m, y, image)) / 2
            assert_small(m.log_det_exp(x, u) - volume, m.dim * case.bound(torch.float64), "log det of exp")


class HeatKernelTests(GeneratedTests):
    """The heat kernel ``p_t(x, y)`` of half the Laplacian."""

    @has(HeatKernelManifold)
    def test_heat_kernel_solves_the_heat_equation(self, case: Case) -> None:
        """``2 d/dt log p = Laplacian log p + |grad log p|^2`` in normal coordinates at y, where the metric is flat."""
        m, (x, y) = case.manifold, case.pair(torch.float64, count=4)
        frame = orthonormal(case, y)
        for time in (0.1 * case.reach**2, case.reach**2):
            t = torch.full((), time, dtype=torch.float64)

            def log_p(z: Tensor, t: Tensor, x: Tensor, y: Tensor, frame: Tensor) -> Tensor:
                u = (z.reshape(-1, *(1,) * case.manifold.ndim) * frame).sum(0)
                return case.manifold.heat_kernel_log_prob(t, x, case.manifold.expmap(y, u))

            z = torch.zeros(m.dim, dtype=torch.float64)
            in_dims = (None, None, 0, 0, 0)
            rate = vmap(jacrev(log_p, argnums=1), in_dims)(z, t, x, y, frame)
            first = vmap(jacrev(log_p), in_dims)(z, t, x, y, frame)
            second = vmap(torch.func.hessian(log_p), in_dims)(z, t, x, y, frame)
            laplacian = second.diagonal(dim1=-2, dim2=-1).sum(-1)
            scale = laplacian.abs() + first.square().sum(-1)
            error = (2 * rate - laplacian - first.square().sum(-1)) / scale
            assert_small(error, 1e3 * case.bound(torch.float64), "heat equation")

    @has(HeatKernelManifold)
    def test_heat_kernel_is_symmetric_and_starts_as_a_normal(self, case: Case) -> None:
        m, (x, y) = case.manifold, case.pair(torch.float64)
        t = torch.full((8,), case.reach**2 / 2, dtype=torch.float64)
        difference = m.heat_kernel_log_prob(t, x, y) - m.heat_kernel_log_prob(t, y, x)
        assert_small(difference, 1e3 * case.bound(torch.float64), "symmetry of the heat kernel")
        x, y = case.pair(torch.float64, 1 / 8)
        t = m.dist2(x, y)
        normal = -(1 + m.dim * torch.log(2 * math.pi * t)) / 2
        # The next term of the expansion is O(t) times curvature.
        error = m.heat_kernel_log_prob(t, x, y) - normal
        assert_small(error, case.cond * float(t.max()), "log p - log of the normal density")

    @has(HeatKernelManifold)
    def test_heat_kernel_samples_follow_the_density(self, case: Case) -> None:
        """Over samples of a density ``p_t`` the mean of ``d/dt log p_t`` is 0."""
        m, count = case.manifold, 4096
        x = case.points(1).expand(count, *case.manifold.point_shape)
        for time in (0.01 * case.reach**2, case.reach**2):
            t = torch.full((count,), time, dtype=torch.float64, requires_grad=True)
            y = m.sample_heat_kernel(t.detach(), x, torch.Generator().manual_seed(6)).detach()
            (rate,) = torch.autograd.grad(m.heat_kernel_log_prob(t, x, y).sum(), t)
            error = rate.mean() / rate.std() * math.sqrt(count)
            assert_small(error, 4.0, "mean of d/dt log p over samples, in standard errors")
