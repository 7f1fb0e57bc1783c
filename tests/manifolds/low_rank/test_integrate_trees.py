"""Low-rank integrators on trains and trees, beside exact solutions of dense equations."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from isometry.manifolds.low_rank import FixedRankTT, LowRankManifold, TreeTensorNetwork, integrate
from tests.manifolds.low_rank.test_integrate import ising

SPINS = (2,) * 8
TRAIN, BALANCED = FixedRankTT(SPINS), TreeTensorNetwork(SPINS)
REAL, IMAGINARY = 0.5j, 0.5 + 0j


class TestIsingChain:
    """Eight spins, all up, in a transverse field: ``dW/dt = -z (H - E) W``, E the energy at the start."""

    hamiltonian = ising(8, 0.8) + 7 * torch.eye(256)

    def start(self, m: LowRankManifold[Any, Any]) -> Any:
        w = torch.zeros(256, dtype=torch.complex128)
        w[0] = 1
        return m.from_dense(w.reshape(SPINS), ranks=1)

    def solve(self, m: Any, z: complex, steps: int, method: str, tol: float) -> tuple[Any, float]:
        """The solution at time 1, and its error relative to the exact one."""

        def f(t: float, w: Tensor) -> Tensor:
            return -z * (self.hamiltonian @ w.flatten()).reshape(SPINS)

        x0 = self.start(m)
        exact = torch.matrix_exp(-z * self.hamiltonian) @ m.to_dense(x0).flatten()
        x = integrate(m, f, x0, (0.0, 1.0), steps, method, tol=tol).points[-1]
        return x, float((m.to_dense(x).flatten() - exact).norm() / exact.norm())

    @pytest.mark.parametrize(("m", "z"), [(TRAIN, REAL), (TRAIN, IMAGINARY), (BALANCED, REAL)], ids=str)
    def test_parallel_is_of_first_order(self, m: Any, z: complex) -> None:
        """From rank 1: the ranks grow as needed, in all bonds at once."""
        (_, coarse), (x, fine) = (self.solve(m, z, n, "parallel_bug", 1e-8) for n in (20, 40))
        assert 1.8 < coarse / fine < 2.4
        assert fine < 0.05
        assert max(m.ranks(x)) > 8  # the whole state: little is lost at this tolerance

    @pytest.mark.parametrize(("m", "z"), [(TRAIN, REAL), (BALANCED, IMAGINARY)], ids=str)
    def test_augmented_is_of_first_order_at_least(self, m: Any, z: complex) -> None:
        coarse, fine = (self.solve(m, z, n, "augmented_bug", 1e-8)[1] for n in (10, 20))
        assert coarse / fine > 1.8
        assert fine < 0.04

    @pytest.mark.parametrize("m", [TRAIN, BALANCED], ids=str)
    @pytest.mark.parametrize("method", ["parallel_bug", "augmented_bug"])
    def test_ranks_are_those_of_the_solution(self, m: Any, method: str) -> None:
        """In imaginary time the chain settles near its ground state, whose entanglement is small."""
        x, error = self.solve(m, IMAGINARY, 20, method, 1e-4)
        assert error < 0.03
        exact = torch.matrix_exp(-IMAGINARY * self.hamiltonian) @ m.to_dense(self.start(m)).flatten()
        needed = m.ranks(m.from_dense(exact.reshape(SPINS), tol=1e-4))
        assert all(1 < r <= max(needed) + 2 for r in m.ranks(x))
        assert m.num_parameters(m.ranks(x)) < 256


HEAT = [FixedRankTT((16, 6, 6)), TreeTensorNetwork((16, 6, 6), ((0,), ((1,), 2)))]


@pytest.mark.parametrize("m", HEAT, ids=str)
def test_the_heat_equation_with_a_random_coefficient(m: Any) -> None:
    """``u_t = (1 + a + b x) u_xx`` for 6 x 6 values of (a, b): a smooth solution, of low rank."""
    n, k = 16, 6
    grid = torch.arange(1, n + 1, dtype=torch.float64) / (n + 1)
    laplacian = (torch.diag(torch.ones(n - 1), 1) + torch.diag(torch.ones(n - 1), -1) - 2 * torch.eye(n)).double()
    laplacian = 0.02 * (n + 1) ** 2 * laplacian
    a, b = torch.linspace(0, 1, k, dtype=torch.float64), torch.linspace(0, 1, k, dtype=torch.float64)
    coefficient = 1 + a[None, :, None] + b[None, None, :] * grid[:, None, None]
    start = (torch.sin(math.pi * grid) + torch.sin(3 * math.pi * grid))[:, None, None].expand(n, k, k)
    operators = coefficient.movedim(0, -1)[..., None] * laplacian  # [k, k, n, n]
    exact = torch.einsum("abxy,yab->xab", torch.matrix_exp(0.5 * operators), start)

    def f(t: float, w: Tensor) -> Tensor:
        return coefficient * torch.einsum("xy,yab->xab", laplacian, w)

    def error(method: str, steps: int) -> float:
        x = integrate(m, f, m.from_dense(start, ranks=1), (0.0, 0.5), steps, method, tol=1e-8).points[-1]
        assert 2 < max(m.ranks(x)) < 16
        return float((m.to_dense(x) - exact).norm() / exact.norm())

    coarse, fine = error("parallel_bug", 50), error("parallel_bug", 100)
    assert 1.8 < coarse / fine < 2.3
    assert fine < 0.01
    assert error("augmented_bug", 50) < fine
