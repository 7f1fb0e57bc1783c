import numpy as np
import pytest
import torch
from torch import nn

from isometry.layers import ProjMap, ReOrth
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Grassmann, ShapeError
from isometry.manifolds.testing import assert_on_manifold, assert_small


class TestReOrth(LayerSuite):
    # normal matrices of condition up to 20, and a derivative that squares it
    cases = (
        LayerCase(ReOrth, lambda n: torch.randn(n, 5, 2), (5, 2), cond=512.0, manifold_out=Grassmann(5, 2)),
        LayerCase(ReOrth, lambda n: torch.randn(n, 3, 4, 3), (3, 4, 3), cond=4096.0),
        LayerCase(ReOrth, lambda n: torch.randn(n, 3, 3), (3, 3), cond=4096.0),
    )


def test_it_is_the_frame_with_a_positive_diagonal() -> None:
    x = torch.randn(50, 6, 3, dtype=torch.float64)
    q = ReOrth()(x)
    assert_on_manifold(Grassmann(6, 3), q, atol=1e-14)
    r = q.mT @ x
    assert_small(r.tril(-1), 1e-14, "below the diagonal of R")
    assert (r.diagonal(dim1=-2, dim2=-1) > 0).all()
    for mine, matrix in zip(q.numpy(), x.numpy(), strict=True):
        theirs, triangle = np.linalg.qr(matrix)
        assert np.allclose(mine, theirs * np.sign(np.diag(triangle)), rtol=0, atol=1e-13)


def test_the_space_and_its_derivative_are_those_of_the_normal_equations() -> None:
    """``x (x^T x)^(-1) x^T``, which needs no decomposition."""
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 6, dtype=torch.float64)
    results = []
    for p in (nn.Sequential(ReOrth(), ProjMap())(x), x @ torch.linalg.solve(x.mT @ x, x.mT)):
        (first,) = torch.autograd.grad((p * weight).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        results.append((p, first, second))
    for ours, exact in zip(*results, strict=True):
        assert_small((ours - exact) / exact.abs().max(), 1e-12, "ReOrth - normal equations")


def test_more_columns_than_rows_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"at least as many rows as columns, but got \(4, 2, 3\)"):
        ReOrth()(torch.zeros(4, 2, 3))
