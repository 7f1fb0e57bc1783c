"""The t-product beside block-circulant matrices, and its singular value decomposition beside its definition."""

import pytest
import torch
from torch import Tensor

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank import (
    FixedRankMatrix,
    from_frequencies,
    t_product,
    t_svd,
    t_transpose,
    to_frequencies,
    tubal_point,
    tubal_rank,
)
from tests.manifolds.low_rank.suite import assert_small, noise

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
TUBES = pytest.mark.parametrize("t", [1, 2, 5, 6])


def block_circulant(a: Tensor) -> Tensor:
    """``[m t, k t]``, block (i, j) the slice ``(i - j) mod t``."""
    t = a.shape[-1]
    return torch.cat([torch.cat([a[..., (i - j) % t] for j in range(t)], 1) for i in range(t)], 0)


def planted(m: int, n: int, r: int, t: int, dtype: torch.dtype) -> Tensor:
    return t_product(noise((m, r, t), dtype, 1), noise((r, n, t), dtype, 2))


@DTYPES
@TUBES
def test_product_and_transpose_are_those_of_block_circulant_matrices(t: int, dtype: torch.dtype) -> None:
    a, b = noise((4, 3, t), dtype, 1), noise((3, 5, t), dtype, 2)
    assert_small(block_circulant(t_product(a, b)) - block_circulant(a) @ block_circulant(b), 1e-13)
    assert_small(block_circulant(t_transpose(a)) - block_circulant(a).mH, 0.0)
    assert_small(from_frequencies(to_frequencies(a), t, real=not dtype.is_complex) - a, 1e-14)


@DTYPES
@TUBES
def test_singular_value_decomposition(t: int, dtype: torch.dtype) -> None:
    a = noise((2, 5, 4, t), dtype, 3)
    U, S, V = t_svd(a)
    assert U.dtype == S.dtype == V.dtype == dtype
    assert_small(t_product(t_product(U, S), t_transpose(V)) - a, 1e-13)
    one = torch.zeros(4, 4, t, dtype=dtype)
    one[..., 0] = torch.eye(4)
    for basis in (U, V):
        assert_small(t_product(t_transpose(basis), basis) - one, 1e-13)
    assert_small(S - torch.diag_embed(S.diagonal(dim1=-3, dim2=-2), dim1=-3, dim2=-2), 1e-14)


@DTYPES
@TUBES
def test_truncation_is_the_best_of_its_tubal_rank(t: int, dtype: torch.dtype) -> None:
    """Eckart & Young in each block of the block-diagonalized circulant, of which ``|bcirc|^2 = t |A|^2``."""
    a = noise((5, 4, t), dtype, 3)
    U, S, V = t_svd(a, rank=2)
    error = (t_product(t_product(U, S), t_transpose(V)) - a).norm()
    transform = torch.fft.fft(torch.eye(t, dtype=torch.complex128)) / t**0.5
    blocks = torch.kron(transform, torch.eye(5)) @ block_circulant(a).to(torch.complex128)
    blocks = blocks @ torch.kron(transform.mH.contiguous(), torch.eye(4))
    tails = [torch.linalg.svdvals(blocks[5 * k : 5 * k + 5, 4 * k : 4 * k + 4])[2:] for k in range(t)]
    assert_small(error - torch.cat(tails).norm() / t**0.5, 1e-13)


@DTYPES
@TUBES
def test_planted_ranks_are_found(t: int, dtype: torch.dtype) -> None:
    for r in (1, 2, 3):
        a = planted(5, 4, r, t, dtype)
        assert tubal_rank(a) == r
        U, S, V = t_svd(a, tol=1e-10)
        assert U.shape[-2] == r
        assert_small(t_product(t_product(U, S), t_transpose(V)) - a, 1e-12)


@TUBES
def test_steps_of_the_frequencies_keep_real_tensors_real(t: int) -> None:
    """Projected gradient steps towards another tensor: all frequencies of the full transform stay conjugate."""
    m = FixedRankMatrix(5, 4)
    target = to_frequencies(planted(5, 4, 2, t, torch.float64))
    x = tubal_point(noise((5, 4, t), torch.float64, 7), rank=2)
    own = [0, t // 2] if t % 2 == 0 else [0]
    before = (m.to_dense(x) - target).norm()
    for _ in range(50):
        step = m.project(x, target - m.to_dense(x))
        x = m.retract(x, m.combine(0.5, step, 0.0, step))
        assert_small(m.to_dense(x)[own].imag, 1e-13)
    assert (m.to_dense(x) - target).norm() < 1e-2 * before


def test_frequencies_of_nothing_but_rounding_do_not_count() -> None:
    slice_ = noise((5, 2), torch.float64, 1) @ noise((2, 4), torch.float64, 2)
    assert tubal_rank(slice_.unsqueeze(-1).expand(5, 4, 6).contiguous()) == 2


def test_a_tolerance_bounds_the_error() -> None:
    a = noise((6, 5, 4), torch.float64, 1)
    errors = []
    for r in (1, 2, 3, 4, 5):
        U, S, V = t_svd(a, rank=r)
        errors.append(float((t_product(t_product(U, S), t_transpose(V)) - a).norm() / a.norm()))
    for tol in (0.6, 0.3, 0.1):
        assert tubal_rank(a, tol) == 1 + sum(e > tol for e in errors)  # the least rank with that error


def test_wrong_arguments() -> None:
    a = torch.zeros(3, 2, 4)
    with pytest.raises(ShapeError, match=r"\[\*b, k, n, t\]"):
        t_product(a, torch.zeros(3, 2, 4))
    with pytest.raises(ShapeError, match=r"\[\*b, k, n, t\]"):
        t_product(a, torch.zeros(2, 3, 5))
    with pytest.raises(TypeError, match="one dtype"):
        t_product(a, torch.zeros(2, 3, 4, dtype=torch.float64))
    with pytest.raises(ShapeError, match=r"expected \[\*b, 3, m, n\]"):
        from_frequencies(torch.zeros(2, 3, 2, dtype=torch.complex64), 4, real=True)
    with pytest.raises(ValueError, match="rank between 1 and 2"):
        t_svd(a, rank=3)
