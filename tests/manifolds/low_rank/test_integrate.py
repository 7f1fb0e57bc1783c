"""Low-rank integrators beside exact solutions of dense equations."""

import itertools
import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import FixedRankMatrix, FixedRankTucker, integrate

METHODS = ["parallel_bug", "augmented_bug"]


def rotating(smallest: float, size: int = 40, rank: int = 8) -> tuple[Callable[[float], Tensor], Callable[..., Tensor]]:
    """``W(t) = e^(tA) e^t D (e^(tB))^T``, D diagonal from 1 down to ``smallest``, A and B skew, and its field."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, size, size, generator=generator, dtype=torch.float64)
    a, b = 6 * (z - z.mT) / torch.linalg.matrix_norm(z - z.mT, keepdim=True)
    d = torch.zeros(size, size, dtype=torch.float64)
    d[range(rank), range(rank)] = torch.logspace(0, math.log10(smallest), rank, dtype=torch.float64)
    return (
        lambda t: math.exp(t) * torch.matrix_exp(t * a) @ d @ torch.matrix_exp(t * b).mT,
        lambda t, w: a @ w + w + w @ b.mT,
    )


def error(manifold: Any, f: Any, exact: Callable[[float], Tensor], steps: int, ranks: Any, **options: Any) -> float:
    """The error at time 1, relative to the solution."""
    x0 = manifold.from_dense(exact(0.0), ranks=ranks)
    end = integrate(manifold, f, x0, (0.0, 1.0), steps, **options).points[-1]
    return float((manifold.to_dense(end) - exact(1.0)).norm() / exact(1.0).norm())


class TestRotatingMatrix:
    """The example of Ceruti & Lubich 2022, section 5.1."""

    def test_parallel_error_is_of_order_one_and_flat_over_ten_decades(self) -> None:
        m, errors = FixedRankMatrix(40, 40), []
        for smallest in (1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12):
            exact, f = rotating(smallest)
            errors.append([error(m, f, exact, n, 8, method="parallel_bug") for n in (20, 40, 80)])
            for coarse, fine in itertools.pairwise(errors[-1]):
                assert 1.8 < coarse / fine < 2.2
        for column in zip(*errors, strict=True):
            assert max(column) < 1.25 * min(column)

    def test_augmented_error_does_not_grow_as_singular_values_fall(self) -> None:
        m = FixedRankMatrix(40, 40)
        exact, f = rotating(1e-2)
        errors = [error(m, f, exact, n, 8, method="augmented_bug") for n in (20, 40, 80)]
        for coarse, fine in itertools.pairwise(errors):
            assert 1.8 < coarse / fine < 2.2
        for smallest in (1e-7, 1e-12):
            exact, f = rotating(smallest)
            assert error(m, f, exact, 80, 8, method="augmented_bug") <= errors[-1]

    @pytest.mark.parametrize("method", METHODS)
    def test_the_rank_is_found(self, method: str) -> None:
        exact, f = rotating(1e-2)
        m = FixedRankMatrix(40, 40)
        x0 = m.from_dense(exact(0.0), tol=1e-12)
        solution = integrate(m, f, x0, (0.0, 1.0), 80, method, tol=2e-3)
        assert all(6 <= r <= 14 for r, _ in map(m.ranks, solution.points[1:]))
        assert (m.to_dense(solution.points[-1]) - exact(1.0)).norm() < 0.05 * exact(1.0).norm()
        limited = integrate(m, f, x0, (0.0, 0.1), 4, method, tol=0.0, max_ranks=9)
        assert m.ranks(limited.points[-1]) == (9, 9)

    def test_times_and_directions(self) -> None:
        exact, f = rotating(0.1, 10, 3)
        m = FixedRankMatrix(10, 10)
        there = integrate(m, f, m.from_dense(exact(0.0), ranks=3), (0.0, 0.5), 100)
        assert there.times == pytest.approx([0.005 * k for k in range(101)])
        back = integrate(m, f, there.points[-1], (0.5, 0.0), 100)
        assert (m.to_dense(back.points[-1]) - exact(0.0)).norm() < 0.05


def ising(sites: int, field: float) -> Tensor:
    """``-sum_k Z_k Z_(k+1) - field sum_k X_k``."""
    x, z = (torch.tensor(a, dtype=torch.complex128) for a in ([[0, 1], [1, 0]], [[1, 0], [0, -1]]))

    def product(factors: dict[int, Tensor]) -> Tensor:
        eye = torch.eye(2, dtype=torch.complex128)
        return reduce(
            lambda a, b: torch.kron(a.contiguous(), b.contiguous()), [factors.get(k, eye) for k in range(sites)]
        )

    bonds = sum(product({k: z, k + 1: z}) for k in range(sites - 1))
    return -bonds - field * sum(product({k: x}) for k in range(sites))


@pytest.mark.parametrize("shape", [(16, 16), (4, 4, 4, 4)])
def test_an_ising_chain_of_eight_spins(shape: tuple[int, ...]) -> None:
    """All spins up, a transverse field: halves (a complex matrix) and quarters (complex Tucker) of the chain."""
    m: Any = FixedRankMatrix(*shape) if len(shape) == 2 else FixedRankTucker(shape)
    hamiltonian = ising(8, 0.8)
    start = torch.zeros(256, dtype=torch.complex128)
    start[0] = 1

    def exact(t: float) -> Tensor:
        return (torch.matrix_exp(-0.5j * t * hamiltonian) @ start).reshape(shape)

    def f(t: float, w: Tensor) -> Tensor:
        return -0.5j * (hamiltonian @ w.flatten()).reshape(shape)

    errors = [error(m, f, exact, n, 1, method="augmented_bug", tol=1e-6) for n in (20, 40)]
    assert errors[-1] < 0.01
    assert errors[0] / errors[1] > 1.7
    end = integrate(m, f, m.from_dense(start.reshape(shape), ranks=1), (0.0, 1.0), 40, "augmented_bug", tol=1e-3).points
    ranks = m.ranks(end[-1])
    assert 1 < max(ranks) < min(shape) + (len(shape) > 2)  # entangled, but not fully


def test_the_heat_equation_with_a_random_coefficient() -> None:
    """``u_t = (1 + a + b x) u_xx`` for 6 x 6 values of (a, b): the error falls with the rank as the best one does."""
    n, k = 16, 6
    grid = torch.arange(1, n + 1, dtype=torch.float64) / (n + 1)
    laplacian = (torch.diag(torch.ones(n - 1), 1) + torch.diag(torch.ones(n - 1), -1) - 2 * torch.eye(n)).double()
    laplacian = laplacian * (n + 1) ** 2
    a, b = torch.linspace(0, 1, k, dtype=torch.float64), torch.linspace(0, 1, k, dtype=torch.float64)
    coefficient = 1 + a[None, :, None] + b[None, None, :] * grid[:, None, None]
    start = (torch.sin(math.pi * grid) + torch.sin(3 * math.pi * grid))[:, None, None].expand(n, k, k)

    def f(t: float, w: Tensor) -> Tensor:
        return 0.02 * coefficient * torch.einsum("xy,yab->xab", laplacian, w)

    def exact(t: float) -> Tensor:
        operators = 0.02 * t * coefficient.movedim(0, -1)[..., None] * laplacian  # [k, k, n, n]
        return torch.einsum("abxy,yab->xab", torch.matrix_exp(operators), start)

    m = FixedRankTucker((n, k, k))
    for ranks in (2, 3, 4):
        best = (m.to_dense(m.from_dense(exact(1.0), ranks=ranks)) - exact(1.0)).norm() / exact(1.0).norm()
        x0 = m.from_dense(exact(0.0), ranks=1)
        end = integrate(m, f, x0, (0.0, 1.0), 100, "augmented_bug", tol=0.0, max_ranks=ranks).points[-1]
        assert (m.to_dense(end) - exact(1.0)).norm() / exact(1.0).norm() < 3 * best


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "at least one step"),
        ({"steps": 1, "method": "ksl"}, "but got method='ksl'"),
        ({"steps": 1, "max_ranks": 2}, "max_ranks together with tol"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    m = FixedRankMatrix(4, 4)
    with pytest.raises(ValueError, match=message):
        integrate(m, lambda t, w: w, m.random(2), (0.0, 1.0), **options)
