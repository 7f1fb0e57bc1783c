import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from isometry.layers import LogEig, ReEig
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import SPDAffineInvariant
from tests.layers.decompositions import CountDecompositions
from tests.layers.test_re_eig import EPS, above, below, mixed, with_eigenvalues


def points(count: int) -> Tensor:
    return SPDAffineInvariant(4).random(count, 4, 4)


class TestLogEig(LayerSuite):
    # condition of the points about 17, times a few n operations
    cases = (
        LayerCase(LogEig, points, (4, 4), cond=512.0, manifold_in=SPDAffineInvariant(4), name="logarithm"),
        LayerCase(lambda: LogEig(EPS), mixed, (4, 4), cond=512.0, name="rectified"),
        LayerCase(
            lambda: LogEig(upcast=True), points, (4, 4), cond=512.0, manifold_in=SPDAffineInvariant(4), name="upcast"
        ),
    )


def test_it_is_the_matrix_logarithm() -> None:
    x = points(5).double()
    expected = np.stack([scipy.linalg.logm(a) for a in x.numpy()])
    assert np.allclose(LogEig()(x).numpy(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", [above, below, mixed])
def test_with_a_threshold_it_is_the_logarithm_after_the_rectifier_with_one_decomposition(make: type) -> None:
    x = make(6).requires_grad_()
    weight = torch.randn_like(x)
    results = []
    for layer in (LogEig(EPS), nn.Sequential(ReEig(EPS), LogEig())):
        with CountDecompositions() as count:
            y = layer(x)
            gradient = torch.autograd.grad(y, x, weight)[0]
        results.append((y, (gradient + gradient.mT) / 2, count.vectors))
    (fused, fused_gradient, decomposed), (plain, plain_gradient, _) = results
    assert decomposed == 6
    assert torch.allclose(fused, plain, rtol=0, atol=1e-13)
    assert torch.allclose(fused_gradient, plain_gradient, rtol=0, atol=1e-12)


def test_upcast_is_exact_at_a_condition_number_that_float32_cannot_bear() -> None:
    x = with_eigenvalues(torch.tensor([1e-5, 1e-3, 0.1, 1.0]).double().expand(8, 4)).float()
    with mpmath.workdps(40):
        exact = []
        for a in x.double().numpy():
            values, vectors = mpmath.eigsy(mpmath.matrix((a + a.T) / 2))
            exact.append(vectors * mpmath.diag([mpmath.log(v) for v in values]) * vectors.T)
    expected = torch.from_numpy(np.array([a.tolist() for a in exact], dtype=float).reshape(8, 4, 4))
    errors = {upcast: (LogEig(upcast=upcast)(x).double() - expected).abs().max() for upcast in (True, False)}
    assert errors[True] < 2e-6  # half a unit in the last place of 11.5 is 5e-7
    assert errors[False] > 1e-4


def test_the_logarithm_of_an_indefinite_matrix_is_never_finite_without_a_threshold() -> None:
    assert LogEig()(below(3)).isnan().all()
    assert LogEig(EPS)(below(3)).isfinite().all()


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan")])
def test_a_threshold_that_is_not_positive_is_refused(eps: float) -> None:
    with pytest.raises(ValueError, match=f"expected a positive eps, or None, but got {eps}"):
        LogEig(eps)


@pytest.mark.peers
def test_spd_learn_agrees() -> None:
    from spd_learn.modules import LogEig as Peer

    weight = torch.randn(6, 4, 4, dtype=torch.float64)
    results = []
    for layer in (LogEig(), Peer(upper=False, flatten=False)):
        torch.manual_seed(0)
        x = points(6).double().requires_grad_()
        y = layer(x)
        results.append((y, torch.autograd.grad(y, x, weight + weight.mT)[0]))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-11)
