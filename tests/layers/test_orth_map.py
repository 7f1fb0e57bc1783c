import math

import pytest
import torch
from torch import Tensor, nn

from isometry.layers import OrthMap, ProjMap
from isometry.layers.orth_map import orth_map
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import Grassmann, ShapeError
from isometry.manifolds._orthogonal import random_orthogonal
from isometry.manifolds.testing import assert_on_manifold, assert_small


def matrices(values: list[float], count: int = 1) -> Tensor:
    """Symmetric matrices with the given eigenvalues."""
    vectors = torch.stack([random_orthogonal(len(values), dtype=torch.float64) for _ in range(count)])
    return vectors @ torch.tensor(values, dtype=torch.float64).diag() @ vectors.mT


def projector(x: Tensor, k: int) -> Tensor:
    frame = orth_map(x, k)
    return frame @ frame.mT


class TestOrthMap(LayerSuite):
    # gaps of 0.5 between kept and dropped eigenvalues; only a space has derivatives, so two vectors go to a projector
    cases = (
        LayerCase(lambda: OrthMap(1), lambda n: matrices([0.1, 0.2, 0.9], n), (3, 1), manifold_out=Grassmann(3, 1)),
        LayerCase(lambda: nn.Sequential(OrthMap(2), ProjMap()), lambda n: matrices([0.1, 0.2, 0.7, 0.9], n), (4, 4)),
        LayerCase(lambda: nn.Sequential(OrthMap(2), ProjMap()), lambda n: matrices([0.2, 0.2, 0.9, 0.9], n), (4, 4)),
    )


def test_it_is_the_frame_of_the_largest_eigenvalues() -> None:
    x = matrices([-3.0, 0.5, 1.0, 2.0], 5)
    frame = OrthMap(2)(x)
    assert_on_manifold(Grassmann(4, 2), frame, atol=1e-14)
    assert_small(x @ frame - frame @ torch.tensor([1.0, 2.0]).double().diag(), 1e-14, "eigenvectors")
    assert_small(projector(x, 4) - torch.eye(4), 1e-14, "projector of the whole space")


def riesz_projector(x: Tensor, centre: float, radius: float) -> Tensor:
    """``1/(2 pi i) contour integral of (z - x)^(-1)``, whose integrand knows nothing of eigenvectors.

    The trapezoidal rule converges as ``q^200``, q the ratio of the circle's radius to the distance of an eigenvalue.
    """
    angles = 2 * math.pi * torch.arange(200, dtype=torch.float64) / 200
    step = radius * torch.polar(torch.ones_like(angles), angles)
    z = (centre + step).reshape(-1, 1, 1) * torch.eye(x.shape[-1])
    return (step.reshape(-1, 1, 1) * torch.linalg.inv(z - x)).mean(0).real


@pytest.mark.parametrize(
    "values", [[0.1, 0.3, 0.9, 1.0], [0.1, 0.1, 1.0, 1.0], [0.1, 0.1 + 1e-9, 1.0, 1.0 + 1e-9], [0.0, 0.0, 0.0, 1.0]]
)
def test_derivatives_are_those_of_the_riesz_projector(values: list[float]) -> None:
    """First and second, also where the kept eigenvalues coincide, and the dropped ones."""
    k = sum(v > 0.5 for v in values)
    x = matrices(values)[0].requires_grad_()
    weights = torch.randn(2, 4, 4, dtype=torch.float64)
    weights = weights + weights.mT
    results = []
    for p in (projector(x, k), riesz_projector(x, 1.0, 0.45)):
        (first,) = torch.autograd.grad((p * weights[0]).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad((first * weights[1]).sum(), x)
        results.append((p, (first + first.mT) / 2, (second + second.mT) / 2))
    for ours, exact in zip(*results, strict=True):
        assert_small((ours - exact) / exact.abs().max(), 1e-12, "orth_map - Riesz projector")


def test_a_closed_gap_gives_no_nan() -> None:
    x = torch.eye(4, dtype=torch.float64, requires_grad=True)
    frame = OrthMap(2)(x)
    assert_on_manifold(Grassmann(4, 2), frame, atol=1e-14)
    (gradient,) = torch.autograd.grad((frame @ frame.mT)[0, 1], x)
    assert not gradient.any()


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"OrthMap: expected a space of dimension k >= 1, but got k=0"):
        OrthMap(0)
    with pytest.raises(ShapeError, match=r"at least k=3 rows, but got \(5, 2, 2\)"):
        OrthMap(3)(torch.zeros(5, 2, 2))
