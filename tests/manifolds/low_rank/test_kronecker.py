"""Kronecker products beside ``torch.kron``, and what is low-rank about hypercomplex products."""

import pytest
import torch
from torch import Tensor

from isometry.manifolds.errors import ShapeError
from isometry.manifolds.low_rank import KroneckerRearrangement
from tests.manifolds.low_rank.suite import assert_small, noise

SHAPES = [((6, 8), (2, 4)), ((6, 8), (3, 1)), ((4, 6, 3, 3), (2, 2, 1, 1)), ((12, 2, 4), (3, 2, 2))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize(("shape", "left"), SHAPES)
def test_a_sum_of_products_is_a_matrix_of_that_rank(
    shape: tuple[int, ...], left: tuple[int, ...], dtype: torch.dtype
) -> None:
    k = KroneckerRearrangement(shape, left)
    a, s = noise((2, *k.left), dtype, 1), noise((2, *k.right), dtype, 2)
    w = torch.kron(a[0], s[0]) + torch.kron(a[1], s[1])
    r = k.rearrange(w)
    assert_small(r - a.flatten(1).mT @ s.flatten(1), 1e-14)
    assert torch.equal(k.restore(r), w)
    x = k.manifold.from_dense(r, ranks=2)
    again = k.point(*k.factors(x))
    for y in (x, again, k.point(a, s)):
        assert_small(k.restore(k.manifold.to_dense(y)) - w, 1e-13)
        assert_small(k.manifold.orthonormality(y), 1e-14)
    assert_small(sum(torch.kron(p, q) for p, q in zip(*k.factors(x), strict=True)) - w, 1e-13)


def test_batches() -> None:
    k = KroneckerRearrangement((4, 6), (2, 3))
    a, s = noise((5, 2, *k.left), torch.float64, 1), noise((5, 2, *k.right), torch.float64, 2)
    x = k.point(a, s)
    w = k.restore(k.manifold.to_dense(x))
    for i in range(5):
        assert_small(w[i] - torch.kron(a[i, 0], s[i, 0]) - torch.kron(a[i, 1], s[i, 1]), 1e-13)
    p, q = k.factors(x)
    assert (p.shape, q.shape) == ((5, 2, 2, 3), (5, 2, 2, 2))


def hamilton(q: Tensor) -> Tensor:
    """The matrix of ``x -> q x`` of quaternions."""
    a, b, c, d = q
    rows = [[a, -b, -c, -d], [b, a, -d, c], [c, d, a, -b], [d, -c, b, a]]
    return torch.stack([torch.stack(row) for row in rows])


def test_layers_of_quaternion_products_have_rank_four() -> None:
    """``W = sum_i E_i (x) S_i``, E_i the matrices of the products by 1, i, j and k."""
    s = noise((4, 3, 5), torch.float64, 1)
    w = torch.stack([torch.stack([hamilton(s[:, p, q]) for q in range(5)]) for p in range(3)])  # [3, 5, 4, 4]
    w = w.permute(2, 0, 3, 1).reshape(12, 20)
    k = KroneckerRearrangement((12, 20), (4, 4))
    values = torch.linalg.svdvals(k.rearrange(w))
    assert values[3] > 1
    assert values[4] < 1e-13


def test_the_best_approximation_by_products() -> None:
    """The nearest single product, by alternating least squares from many starts."""
    k = KroneckerRearrangement((4, 6), (2, 3))
    w = noise((4, 6), torch.float64, 3)
    x = k.manifold.from_dense(k.rearrange(w), ranks=1)
    best = (k.restore(k.manifold.to_dense(x)) - w).norm()
    blocks = w.reshape(2, 2, 3, 2)
    errors = []
    for seed in range(10):
        s = noise((2, 2), torch.float64, seed)
        for _ in range(100):
            a = torch.einsum("acbd,cd->ab", blocks, s) / s.square().sum()
            s = torch.einsum("acbd,ab->cd", blocks, a) / a.square().sum()
        errors.append((torch.kron(a, s) - w).norm())
    assert abs(min(errors) - best) < 1e-10


def test_wrong_sizes_are_refused() -> None:
    for shape, left in [((6, 8), (4, 4)), ((6, 8), (2,)), ((6, 8), (0, 2))]:
        with pytest.raises(ShapeError, match="divide the shape"):
            KroneckerRearrangement(shape, left)
    k = KroneckerRearrangement((6, 8), (2, 4))
    for f, wrong in [(k.rearrange, (8, 6)), (k.rearrange, (8,)), (k.restore, (6, 8))]:
        with pytest.raises(ShapeError, match="expected a shape that ends in"):
            f(torch.zeros(wrong))
