"""Sums of products: sensitivity by sampling, the correction beside its conditions, and fits beside planted terms."""

import pytest
import torch
from torch import Tensor

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank import (
    balance,
    cp_als,
    cp_to_dense,
    reduce_sensitivity,
    ring_to_dense,
    sensitivity,
)
from tests.manifolds.low_rank.suite import assert_small, noise

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)


def factors(shape: tuple[int, ...], rank: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, ...]:
    return tuple(noise((n, rank), dtype, seed + k) for k, n in enumerate(shape))


def start() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def border() -> Tensor:
    """``a a b + a b a + b a a``: of rank 3, a limit of tensors of rank 2."""
    a, b = torch.eye(4, dtype=torch.float64)[:2]
    return sum(torch.einsum("i,j,k->ijk", *z) for z in [(a, a, b), (a, b, a), (b, a, a)])


@DTYPES
def test_dense_form(dtype: torch.dtype) -> None:
    f = factors((4, 3, 5), 2, dtype)
    assert_small(cp_to_dense(f) - torch.einsum("ir,jr,kr->ijk", *f), 1e-14)
    batch = tuple(torch.stack([z, 2 * z]) for z in f)
    assert_small(cp_to_dense(batch)[1] - 8 * cp_to_dense(f), 1e-13)
    with pytest.raises(ShapeError, match="with one R"):
        cp_to_dense((f[0], f[1][:, :1]))


@DTYPES
def test_rings(dtype: torch.dtype) -> None:
    cores = [noise(s, dtype, k) for k, s in enumerate([(2, 3, 4), (4, 5, 3), (3, 2, 2)])]
    assert_small(ring_to_dense(cores) - torch.einsum("aib,bjc,cka->ijk", *cores), 1e-13)
    assert_small(ring_to_dense([torch.stack([c, 2 * c]) for c in cores])[1] - 8 * ring_to_dense(cores), 1e-12)


@DTYPES
def test_sensitivity_is_the_squared_norm_of_the_derivative(dtype: torch.dtype) -> None:
    """``E |J n|^2 = |J|^2`` for white noise n; the dense form is linear in each factor, so that J is exact."""
    f = factors((4, 3, 5), 2, dtype)
    total = 0.0
    for k in range(3):
        for index in range(f[k].numel()):
            unit = torch.zeros_like(f[k]).flatten()
            unit[index] = 1
            total += cp_to_dense([unit.reshape(f[k].shape) if j == k else z for j, z in enumerate(f)]).norm() ** 2
    assert_small(sensitivity(f) / total - 1, 1e-13)


def test_sensitivity_by_sampling() -> None:
    f = factors((4, 3, 5), 2)
    generator, scale = torch.Generator().manual_seed(0), 1e-5
    noisy = [z + scale * torch.randn(20_000, *z.shape, generator=generator, dtype=z.dtype) for z in f]
    samples = (cp_to_dense(noisy) - cp_to_dense(f)).square().sum((-3, -2, -1)) / scale**2
    assert abs(samples.mean() - sensitivity(f)) < 4 * samples.std() / 20_000**0.5


@DTYPES
def test_balance_is_the_least_sensitive_scaling(dtype: torch.dtype) -> None:
    f = factors((4, 3, 5), 2, dtype)
    best = balance(f)
    assert_small(cp_to_dense(best) - cp_to_dense(f), 1e-13)
    for seed in range(5):
        scales = (0.1 * noise((3, 2), torch.float64, seed)).exp()
        scales = scales / scales.prod(0) ** (1 / 3)
        assert sensitivity(best) < sensitivity([z * s for z, s in zip(best, scales, strict=True)])
    zero = balance([z * torch.tensor([1.0, 0.0], dtype=dtype) for z in f])
    assert torch.isfinite(sensitivity(zero))


@DTYPES
def test_planted_terms_are_recovered(dtype: torch.dtype) -> None:
    w = cp_to_dense(factors((5, 4, 6), 3, dtype))
    fit = cp_als(w, 3, sweeps=2000, tol=1e-13, generator=start())
    assert fit.converged
    assert fit.error < 1e-9
    assert_small((cp_to_dense(fit.factors) - w) / w.norm(), 1e-8)


def test_more_terms_than_entries_of_a_mode() -> None:
    w = noise((3, 3, 3), torch.float64, 0)
    fit = cp_als(w, 6, sweeps=3000, tol=1e-12, generator=start())
    assert fit.error < 1e-3


def test_a_limit_of_lower_rank_is_not_attained() -> None:
    """Longer runs come closer, with terms that grow without bound: there is no best approximation."""
    short, long = (cp_als(border(), 2, sweeps=n, tol=0.0, generator=start()) for n in (50, 2000))
    assert not long.converged
    assert long.error < 0.5 * short.error
    assert sensitivity(long.factors) > 2 * sensitivity(short.factors)


@pytest.mark.parametrize("w", [border(), noise((4, 5, 3), torch.float64, 3)], ids=["border", "noise"])
def test_the_correction_lowers_the_sensitivity_at_the_given_error(w: Tensor) -> None:
    fit = cp_als(w, 3 if w.shape != (4, 4, 4) else 2, sweeps=300, tol=0.0, generator=start())
    bound = 1.2 * fit.error + 0.02
    values = [float(sensitivity(fit.factors))]
    for sweeps in (1, 5, 50):
        better = reduce_sensitivity(w, fit.factors, bound, sweeps=sweeps)
        assert (cp_to_dense(better) - w).norm() <= bound * w.norm() * (1 + 1e-12)
        values.append(float(sensitivity(better)))
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.8 * values[0]


def test_the_correction_is_stationary() -> None:
    """At the end the gradients of sensitivity and squared error are opposite (Lagrange)."""
    w = noise((4, 5, 3), torch.float64, 3)
    fit = cp_als(w, 2, generator=start())
    best = [f.requires_grad_() for f in reduce_sensitivity(w, fit.factors, fit.error + 0.03, sweeps=150)]
    gradients = []
    for value in (sensitivity(best), (cp_to_dense(best) - w).square().sum()):
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, best)]))
    cosine = torch.nn.functional.cosine_similarity(*gradients, dim=0)
    assert cosine < -1 + 1e-6


def test_wrong_arguments() -> None:
    w = noise((3, 4, 2), torch.float64, 0)
    for bad, rank in [(w, 0), (0 * w, 2), (w / 0, 2), (w[0, 0], 1)]:
        with pytest.raises(ValueError, match="finite tensor, not zero"):
            cp_als(bad, rank)
    with pytest.raises(ValueError, match="bound below 1"):
        reduce_sensitivity(w, cp_als(w, 1).factors, 0.1)


@pytest.mark.peers
class TestTensorly:
    def test_error_of_a_fit(self) -> None:
        import tensorly
        from tensorly.decomposition import parafac

        w = noise((5, 6, 4), torch.float64, 1)
        ours = cp_als(w, 3, sweeps=2000, tol=1e-12, generator=start()).error
        starts = [parafac(w.numpy(), 3, init="random", random_state=s, n_iter_max=2000, tol=1e-12) for s in range(5)]
        theirs = [float((torch.as_tensor(tensorly.cp_to_tensor(t)) - w).norm() / w.norm()) for t in starts]
        assert min(theirs) - 1e-6 < ours < max(theirs) + 1e-6
        assert_small(
            cp_to_dense([torch.as_tensor(f) for f in starts[0].factors])
            - torch.as_tensor(tensorly.cp_to_tensor((None, starts[0].factors))),
            1e-13,
        )
