import numpy as np
import pytest
import torch
from torch import Tensor

from isometry.layers import ReEig
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import SPDAffineInvariant
from tests.layers.decompositions import CountDecompositions

EPS = 0.3


def with_eigenvalues(values: Tensor) -> Tensor:
    """Return a random symmetric matrix with each row of eigenvalues."""
    q = torch.linalg.qr(torch.randn(*values.shape, values.shape[-1], dtype=values.dtype)).Q
    return q @ (values.unsqueeze(-1) * q.mT)


def above(count: int) -> Tensor:
    return with_eigenvalues(EPS + 0.2 + torch.rand(count, 4, dtype=torch.float64))


def below(count: int) -> Tensor:
    """Return matrices with eigenvalues on both sides of EPS, some of them negative."""
    return with_eigenvalues(torch.tensor([-0.1, 0.2, 0.5, 1.0]).double() + 0.05 * torch.rand(count, 4).double())


def mixed(count: int) -> Tensor:
    return torch.stack([(above if i % 2 else below)(1)[0] for i in range(count)])


def by_definition(x: Tensor, eps: float = EPS) -> Tensor:
    values, vectors = np.linalg.eigh(x.numpy())
    return torch.from_numpy(vectors * np.maximum(values, eps)[..., None, :] @ vectors.swapaxes(-1, -2))


class TestReEig(LayerSuite):
    # a decomposition is exact to a few n eps, relative to the largest eigenvalue
    cases = (
        LayerCase(
            lambda: ReEig(EPS),
            above,
            (4, 4),
            manifold_in=SPDAffineInvariant(4),
            manifold_out=SPDAffineInvariant(4),
            name="above",
        ),
        LayerCase(lambda: ReEig(EPS), below, (4, 4), manifold_out=SPDAffineInvariant(4), name="below"),
        LayerCase(lambda: ReEig(EPS), mixed, (4, 4), manifold_out=SPDAffineInvariant(4), name="mixed"),
    )


@pytest.mark.parametrize("make", [above, below, mixed])
def test_it_is_the_formula(make: type) -> None:
    x = make(6)
    assert torch.allclose(ReEig(EPS)(x), by_definition(x), rtol=0, atol=1e-14)
    assert torch.allclose(ReEig(EPS)(x.view(2, 3, 4, 4)).view_as(x), by_definition(x), rtol=0, atol=1e-14)
    assert torch.allclose(ReEig(EPS)(x[0]), by_definition(x[0]), rtol=0, atol=1e-14)


def test_where_nothing_is_below_the_threshold_it_is_the_identity_with_the_identity_as_derivative() -> None:
    x = above(6).requires_grad_()
    weight = torch.randn_like(x)
    with CountDecompositions() as count:
        y = ReEig(EPS)(x)
        (gradient,) = torch.autograd.grad(y, x, weight)
    assert torch.equal(y, x)
    assert torch.equal(gradient, weight)
    assert count.vectors == count.values == 0


def test_only_the_matrices_below_are_decomposed_and_once() -> None:
    x = torch.cat([above(5), below(3)]).requires_grad_()
    with CountDecompositions() as count:
        y = ReEig(EPS)(x)
        y.square().sum().backward()
    assert (count.vectors, count.values) == (3, 0)
    assert torch.equal(y[:5], x[:5])
    assert torch.allclose(y[5:], by_definition(x[5:].detach()), rtol=0, atol=1e-14)


def test_the_guard_and_the_decomposition_give_the_same_derivatives() -> None:
    """The batched path looks at values; under vmap there are none to look at."""
    x = mixed(6)

    def total(x: Tensor) -> Tensor:
        return (ReEig(EPS)(x) ** 3).sum()

    looped = torch.func.vmap(torch.func.grad(total))(x)
    (guarded,) = torch.autograd.grad(total(x.requires_grad_()), x)
    assert torch.allclose(guarded, looped, rtol=0, atol=1e-13)


def test_at_the_threshold_and_around_it_the_value_is_continuous() -> None:
    eps = 2.0**-3  # a number of both formats
    for shift in (0.0, 1e-18, -1e-18, 1e-16, -1e-16, 1e-9, -1e-9):
        x = torch.diag(torch.tensor([eps + shift, 1.0], dtype=torch.float64))
        assert (ReEig(eps)(x) - by_definition(x, eps)).abs().max() <= 1e-16


def test_a_zero_matrix_and_a_singular_one_become_positive_definite() -> None:
    assert torch.equal(ReEig(EPS)(torch.zeros(2, 3, 3)), EPS * torch.eye(3).expand(2, 3, 3))
    singular = torch.ones(3, 3)
    assert torch.linalg.eigvalsh(ReEig(EPS)(singular))[0].item() == pytest.approx(EPS, rel=1e-6)


def test_what_is_not_finite_never_becomes_finite() -> None:
    x = above(3)
    x[1, 0, 0] = torch.inf
    assert not ReEig(EPS)(x)[1].isfinite().all()
    x[1, 0, 0] = torch.nan
    assert not ReEig(EPS)(x)[1].isfinite().all()


def test_half_formats_are_computed_in_full() -> None:
    x = mixed(4).bfloat16()
    y = ReEig(EPS)(x)
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.double(), by_definition(x.double()), rtol=0, atol=2**-8)


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan")])
def test_a_threshold_that_is_not_positive_is_refused(eps: float) -> None:
    with pytest.raises(ValueError, match=f"expected a positive eps, but got {eps}"):
        ReEig(eps)


@pytest.mark.peers
def test_spd_learn_agrees() -> None:
    from spd_learn.modules import ReEig as Peer

    weight = torch.randn(6, 4, 4, dtype=torch.float64)
    results = []
    for layer in (ReEig(EPS), Peer(EPS, dtype=torch.float64)):
        torch.manual_seed(0)
        x = mixed(6).requires_grad_()
        y = layer(x)
        (gradient,) = torch.autograd.grad(y, x, weight + weight.mT)
        results.append((y, (gradient + gradient.mT) / 2))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
