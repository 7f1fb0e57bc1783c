"""The contract of a low-rank manifold, checked against the Jacobian of its factors and against dense tensors."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank import LowRankManifold

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Case:
    """A manifold, ranks that are well below its sizes, and the matricizations whose ranks these are."""

    manifold: LowRankManifold[Any, Any]
    ranks: tuple[int, ...]
    matricize: Callable[[Tensor], list[Tensor]]

    def __str__(self) -> str:
        return f"{self.manifold!r}-{'x'.join(map(str, self.ranks))}"

    def point(self, dtype: torch.dtype = torch.float64, seed: int = 0, batch: Sequence[int] = ()) -> Any:
        """A random point with singular values of different sizes."""
        m, generator = self.manifold, torch.Generator().manual_seed(seed)
        x = m.random(self.ranks, batch=batch, generator=generator, dtype=dtype)
        leaves = m.leaves(x)
        core = leaves[m.core]
        leaves[m.core] = core + 0.3 * core.norm() / core.numel() ** 0.5 * noise(core.shape, dtype, seed)
        return m.point(leaves)

    def tangent(self, x: Any, seed: int = 1) -> Any:
        """A random tangent vector."""
        leaf = self.manifold.leaves(x)[0]
        batch = leaf.shape[: leaf.ndim - len(self.manifold.leaf_shapes(1)[0])]
        return self.manifold.project(x, noise((*batch, *self.manifold.shape), leaf.dtype, seed))

    def dense(self, x: Any, t: Any) -> Tensor:
        """The dense form of a tangent vector."""
        return self.manifold.to_dense(self.manifold.vector(x, t))

    def tails(self, w: Tensor) -> list[Tensor]:
        """The norms of what the best approximation of each matricization leaves out."""
        return [
            torch.linalg.svdvals(a)[r:].square().sum().sqrt()
            for a, r in zip(self.matricize(w), self.ranks, strict=False)
        ]


def noise(shape: Sequence[int], dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1000 + seed), dtype=dtype)


def real(z: Tensor) -> Tensor:
    """The real coordinates of a tensor."""
    return torch.view_as_real(z).flatten() if z.is_complex() else z.flatten()


def tangent_basis(m: LowRankManifold[Any, Any], x: Any) -> Tensor:
    """Orthonormal columns that span the range of the derivative of the dense tensor by all factors."""
    leaves = m.leaves(x)

    def by_coordinates(*coordinates: Tensor) -> Tensor:
        factors = [torch.view_as_complex(c) if leaves[0].is_complex() else c for c in coordinates]
        return real(m.to_dense(m.point(factors)))

    coordinates = tuple(torch.view_as_real(z) if z.is_complex() else z for z in leaves)
    jacobian = torch.func.jacrev(by_coordinates, argnums=tuple(range(len(coordinates))))(*coordinates)
    u, s, _ = torch.linalg.svd(torch.cat([j.flatten(1) for j in jacobian], 1), full_matrices=False)
    return u[:, s > 1e-10 * s[0]]


def assert_small(error: Tensor, bound: float) -> None:
    assert float(error.abs().max()) <= bound, f"{float(error.abs().max()):.2e} > {bound:.2e}"


class LowRankSuite:
    """Subclass it as a pytest class and list its ``cases``; real and complex numbers are both tried."""

    cases: ClassVar[list[Case]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        values = {"case": self.cases, "dtype": [torch.float64, torch.complex128]}
        for name in (n for n in values if n in metafunc.fixturenames):
            metafunc.parametrize(name, values[name], ids=str)

    # --- facts and points -------------------------------------------------------------------------------------

    def test_leaves_have_the_shapes_that_are_said(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype, batch=(2, 3))
        leaves = m.leaves(x)
        assert [(2, 3, *shape) for shape in m.leaf_shapes(case.ranks)] == [tuple(z.shape) for z in leaves]
        assert m.num_parameters(case.ranks) == sum(z.numel() for z in leaves) // 6
        assert m.ranks(x) == case.ranks
        assert all(z.dtype == dtype for z in leaves)
        for again in (m.point(leaves), m.tangent(leaves)):
            assert all(a is b for a, b in zip(m.leaves(again), leaves, strict=True))
        assert [z.shape for z in m.leaves(case.tangent(x))] == [z.shape for z in leaves]

    def test_random_points(self, case: Case, dtype: torch.dtype) -> None:
        m = case.manifold
        first, again, other = (
            m.random(case.ranks, batch=(4,), scale=3.0, generator=torch.Generator().manual_seed(s), dtype=dtype)
            for s in (0, 0, 1)
        )
        assert_small(m.orthonormality(first), 16 * EPS)
        assert_small(m.to_dense(first).flatten(1).norm(dim=1) - 3, 64 * EPS)
        assert torch.equal(m.to_dense(first), m.to_dense(again))
        assert not torch.equal(m.to_dense(first), m.to_dense(other))
        for a, r in zip(case.matricize(m.to_dense(first)[0]), case.ranks, strict=False):
            s = torch.linalg.svdvals(a)[:r]
            assert s.max() < 1.25 * s.min(), "the spectrum is not flat"

    def test_manifolds_are_equal_by_value(self, case: Case) -> None:
        m = case.manifold
        same = copy.deepcopy(m)
        assert m == same
        assert hash(m) == hash(same)
        same.shape = (*m.shape[:-1], m.shape[-1] + 1)
        assert m != same
        assert m != object()

    def test_impossible_ranks_are_refused(self, case: Case) -> None:
        m = case.manifold
        assert m.check_ranks(1) == (1,) * len(case.ranks)
        for ranks in (0, max(m.full_ranks) + 1, (1,) * (len(case.ranks) + 1)):
            with pytest.raises(ValueError, match="expected ranks between 1 and"):
                m.check_ranks(ranks)

    def test_wrong_shapes_are_refused(self, case: Case) -> None:
        wrong = torch.zeros([n + 1 for n in case.manifold.shape])
        for f in (case.manifold.from_dense, lambda z: case.manifold.project(case.point(), z)):
            with pytest.raises(ShapeError, match="dense tensor ends in dimensions"):
                f(wrong)

    def test_numbers_that_are_not_finite_are_refused(self, case: Case) -> None:
        for value in (torch.nan, torch.inf):
            with pytest.raises(ValueError, match="finite numbers"):
                case.manifold.from_dense(torch.full(case.manifold.shape, value))

    # --- the tangent space ------------------------------------------------------------------------------------

    def test_dimension_is_the_rank_of_the_jacobian(self, case: Case, dtype: torch.dtype) -> None:
        columns = tangent_basis(case.manifold, case.point(dtype)).shape[1]
        assert columns == case.manifold.dim(case.ranks) * (2 if dtype.is_complex else 1)

    def test_projection_is_that_on_the_range_of_the_jacobian(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype)
        z = noise(m.shape, dtype, 5)
        basis = tangent_basis(m, x)
        t = m.project(x, z)
        projected = case.dense(x, t)
        assert_small(real(projected) - basis @ (basis.mT @ real(z)), 1e-13)
        assert_small(m.norm(m.combine(1.0, t, -1.0, m.project(x, projected))), 1e-13)
        w = noise(m.shape, dtype, 6)
        assert_small(m.inner(t, m.project(x, w)) - (real(projected) * real(w)).sum(), 1e-12)

    def test_inner_is_that_of_the_dense_tensors(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype)
        t, s = case.tangent(x, 1), case.tangent(x, 2)
        dense = case.dense(x, t), case.dense(x, s)
        assert_small(m.inner(t, s) - (real(dense[0]) * real(dense[1])).sum(), 1e-12)
        assert_small(m.norm(t) - dense[0].norm(), 1e-13)
        assert_small(case.dense(x, m.combine(2.0, t, -0.5, s)) - (2 * dense[0] - dense[1] / 2), 1e-13)
        assert_small(case.dense(x, m.zero(x)), 1e-14)

    def test_blocks_are_orthogonal(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype)
        leaves = m.leaves(case.tangent(x))
        alone = [m.tangent([z if i == k else 0 * z for i, z in enumerate(leaves)]) for k in range(len(leaves))]
        dense = torch.stack([real(case.dense(x, t)) for t in alone])
        norms = torch.stack([m.inner(t, t) for t in alone])
        assert_small(dense @ dense.mT - torch.diag(norms), 1e-12)
        assert_small(m.block_inner(m.tangent(leaves), m.tangent(leaves)) - norms, 1e-12)

    def test_gauge_is_the_projection_of_raw_blocks(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype)
        t = case.tangent(x)
        assert_small(m.norm(m.combine(1.0, t, -1.0, m.gauge(x, t))), 1e-13)
        raw = m.tangent([noise(z.shape, dtype, k) for k, z in enumerate(m.leaves(x))])
        gauged = m.gauge(x, raw)
        assert_small(m.norm(m.combine(1.0, gauged, -1.0, m.gauge(x, gauged))), 1e-13)
        assert_small(m.norm(gauged) - case.dense(x, gauged).norm(), 1e-13)

    def test_transport_is_the_projection_there(self, case: Case, dtype: torch.dtype) -> None:
        m, x, y = case.manifold, case.point(dtype, 0), case.point(dtype, 1)
        t = case.tangent(x)
        moved = m.transport(x, t, y)
        assert_small(m.norm(m.combine(1.0, moved, -1.0, m.project(y, case.dense(x, t)))), 1e-13)
        basis, z = tangent_basis(m, y), real(case.dense(y, moved))
        assert_small(z - basis @ (basis.mT @ z), 1e-13)
        assert_small(m.norm(m.combine(1.0, t, -1.0, m.transport(x, t, x))), 1e-13)

    # --- the three verbs --------------------------------------------------------------------------------------

    def test_embed_is_exact(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype)
        t, basis = case.tangent(x), tangent_basis(m, x)
        y = m.embed(x, t)
        z = noise(m.shape, dtype, 1)  # of which t is the projection
        expected = real(m.to_dense(x)) + basis @ (basis.mT @ real(z))
        assert_small(real(m.to_dense(y)) - expected, 1e-13)
        assert_small(m.orthonormality(y), 32 * EPS)
        assert all(r <= 2 * s for r, s in zip(m.ranks(y), case.ranks, strict=True))

    def test_augment_keeps_the_tensor(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype)
        t = case.tangent(x)
        y = m.augment(x, t)
        assert_small(m.to_dense(y) - m.to_dense(x), 1e-14)
        assert_small(m.orthonormality(y), 32 * EPS)
        assert any(r > s for r, s in zip(m.ranks(y), case.ranks, strict=True))
        dense = case.dense(x, t)
        assert_small(case.dense(y, m.project(y, dense)) - dense, 1e-13)
        room = [r + 1 for r in case.ranks]
        small = m.augment(x, t, max_ranks=room)
        assert_small(m.to_dense(small) - m.to_dense(x), 1e-14)
        assert all(r <= n for r, n in zip(m.ranks(small), room, strict=True))

    def test_augment_of_nothing_is_orthonormal(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype)
        y = m.augment(x, m.zero(x))
        assert_small(m.orthonormality(y), 32 * EPS)
        assert_small(m.to_dense(y) - m.to_dense(x), 1e-14)

    def test_truncation_is_quasi_optimal(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype)
        y = m.embed(x, case.tangent(x))
        w = m.to_dense(y)
        for short in (m.truncate(y, ranks=case.ranks), m.from_dense(w, ranks=case.ranks)):
            assert m.ranks(short) == case.ranks
            assert_small(m.orthonormality(short), 32 * EPS)
            error = (m.to_dense(short) - w).norm()
            tails = torch.stack(case.tails(w))
            assert tails.max() - 1e-12 <= error <= tails.square().sum().sqrt() + 1e-12

    @pytest.mark.parametrize("tol", [0.5, 0.1, 1e-3])
    def test_truncation_keeps_the_tolerance(self, case: Case, dtype: torch.dtype, tol: float) -> None:
        m, x = case.manifold, case.point(dtype)
        y = m.embed(x, m.combine(0.02, case.tangent(x), 0.0, m.zero(x)))
        w = m.to_dense(y)
        for short in (m.truncate(y, tol=tol), m.from_dense(w, tol=tol)):
            assert (m.to_dense(short) - w).norm() <= tol * w.norm()
        assert m.ranks(m.truncate(y, tol=4.0)) == (1,) * len(case.ranks)
        assert m.ranks(m.truncate(y, ranks=case.ranks, tol=1e-12)) == case.ranks

    def test_truncation_finds_the_ranks(self, case: Case, dtype: torch.dtype) -> None:
        m, x = case.manifold, case.point(dtype)
        for found in (
            m.truncate(m.augment(x, case.tangent(x)), tol=1e-12),
            m.from_dense(m.to_dense(x), tol=1e-12),
        ):
            assert m.ranks(found) == case.ranks
            assert_small(m.to_dense(found) - m.to_dense(x), 1e-13)

    def test_every_tensor_is_a_point(self, case: Case, dtype: torch.dtype) -> None:
        z = noise((2, *case.manifold.shape), dtype, 3)
        assert_small(case.manifold.to_dense(case.manifold.from_dense(z)) - z, 1e-13)

    def test_budgets_are_kept(self, case: Case, dtype: torch.dtype) -> None:
        m, z = case.manifold, noise(case.manifold.shape, dtype, 3)
        least, most = m.num_parameters(1), m.num_parameters(case.ranks)
        for budget in (least, (least + most) // 2, most):
            x = m.from_dense(z, budget=budget)
            assert m.num_parameters(m.ranks(x)) <= budget
        with pytest.raises(ValueError, match=f"budget of at least {least} parameters"):
            m.from_dense(z, budget=least - 1)
        with pytest.raises(ValueError, match="a budget or ranks and tol"):
            m.from_dense(z, budget=most, tol=0.1)

    # --- the retraction ---------------------------------------------------------------------------------------

    def test_retraction_is_of_second_order(self, case: Case, dtype: torch.dtype) -> None:
        """``R(h t) - x - h t`` is of order 2, and its tangential part of order 3."""
        m, x = case.manifold, case.point(dtype)
        t = case.tangent(x)
        t = m.combine(0.05 / float(m.norm(t)), t, 0.0, t)
        basis, w, dense = tangent_basis(m, x), m.to_dense(x), case.dense(x, t)
        normal, tangential = [], []
        for h in (1.0, 0.5, 0.25):
            rest = real(m.to_dense(m.retract(x, m.combine(h, t, 0.0, t))) - w - h * dense)
            inside = basis @ (basis.mT @ rest)
            normal.append(float((rest - inside).norm()))
            tangential.append(float(inside.norm()))
        for i in range(2):
            assert 3 < normal[i] / normal[i + 1] < 5
            assert 5.5 < tangential[i] / tangential[i + 1] < 11
        assert_small(m.to_dense(m.retract(x, m.zero(x))) - w, 1e-14)

    def test_bases_stay_orthonormal(self, case: Case, dtype: torch.dtype) -> None:
        """Over ten walks of 100 steps."""
        m, x = case.manifold, case.point(dtype, batch=(10,))
        z = noise((8, 10, *m.shape), dtype, 0)
        for step in range(100):
            x = m.retract(x, m.project(x, 0.1 * z[step % 8]))
        assert_small(m.orthonormality(x), 1e-12)
        assert m.ranks(x) == case.ranks

    # --- batches and formats ----------------------------------------------------------------------------------

    def test_a_batch_is_its_members(self, case: Case, dtype: torch.dtype) -> None:
        m = case.manifold
        x, y = case.point(dtype, batch=(3,)), case.point(dtype, 1, batch=(3,))
        t = case.tangent(x)
        results = [m.to_dense(m.retract(x, t)), case.dense(y, m.transport(x, t, y)), m.norm(t)]
        for k in range(3):
            xk, yk = (m.point([z[k] for z in m.leaves(p)]) for p in (x, y))
            tk = m.tangent([z[k] for z in m.leaves(t)])
            alone = [m.to_dense(m.retract(xk, tk)), case.dense(yk, m.transport(xk, tk, yk)), m.norm(tk)]
            for whole, part in zip(results, alone, strict=True):
                assert_small(whole[k] - part, 1e-13)

    def test_float32_stays_float32(self, case: Case) -> None:
        m, x = case.manifold, case.point(torch.float32)
        t = case.tangent(x)
        for result in (t, m.gauge(x, t), m.transport(x, t, x), m.embed(x, t), m.augment(x, t), m.retract(x, t)):
            assert all(z.dtype == torch.float32 for z in m.leaves(result))
        assert_small(m.orthonormality(m.retract(x, t)), 1e-5)
