import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad

from isometry.layers.equivariant import BesselBasis, ExpNormalBasis, GaussianBasis
from isometry.layers.testing import LayerCase, LayerSuite

CUTOFF, SIZE = 4.0, 8


def distances(n: int) -> Tensor:
    return CUTOFF * torch.rand(n)


class TestRadialBases(LayerSuite):
    # a recursion of SIZE steps for Bessel's functions; arguments of up to SIZE^2 in the exponentials
    cases = (
        LayerCase(lambda: BesselBasis(CUTOFF, SIZE), distances, (SIZE,), cond=4.0 * SIZE**2),
        LayerCase(lambda: GaussianBasis(CUTOFF, SIZE), distances, (SIZE,), cond=4.0 * SIZE**2),
        LayerCase(lambda: ExpNormalBasis(CUTOFF, SIZE), distances, (SIZE,), cond=4.0 * SIZE**2),
    )
    test_a_saved_state_restores_the_layer = None  # there is no state


def bessel(r: mpmath.mpf, k: int) -> mpmath.mpf:
    frequency = (k + 1) * mpmath.pi / CUTOFF
    return mpmath.sqrt(mpmath.mpf(2) / CUTOFF) * (mpmath.sin(frequency * r) / r if r else frequency)


def gaussian(r: mpmath.mpf, k: int) -> mpmath.mpf:
    step = mpmath.mpf(CUTOFF) / (SIZE - 1)
    return mpmath.exp(-((r - k * step) ** 2) / (2 * step**2))


def exp_normal(r: mpmath.mpf, k: int) -> mpmath.mpf:
    start = mpmath.exp(-CUTOFF)
    centre = start + (1 - start) * k / (SIZE - 1)
    width = (2 * (1 - start) / SIZE) ** -2
    return mpmath.exp(-width * (mpmath.exp(-5 * r / CUTOFF) - centre) ** 2)


BASES = [
    (BesselBasis(CUTOFF, SIZE), bessel),
    (GaussianBasis(CUTOFF, SIZE), gaussian),
    (ExpNormalBasis(CUTOFF, SIZE), exp_normal),
]


@pytest.mark.parametrize(("basis", "formula"), BASES, ids=lambda x: type(x).__name__)
def test_values_are_those_of_the_formula_from_distance_0_to_the_cutoff(basis: nn.Module, formula: type) -> None:
    r = [0.0, 1e-200, 1e-12, 1e-4, 0.3, 1.7, 3.9, 4.0]
    with mpmath.workdps(50):
        expected = torch.tensor(
            [[float(formula(mpmath.mpf(x), k)) for k in range(SIZE)] for x in r], dtype=torch.float64
        )
    found = basis.double()(torch.tensor(r, dtype=torch.float64))
    assert torch.allclose(found, expected, rtol=1e-13, atol=1e-14)
    assert torch.allclose(basis.float()(torch.tensor(r)), expected.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("basis", "formula"), BASES, ids=lambda x: type(x).__name__)
def test_derivatives_are_exact_near_distance_0_too(basis: nn.Module, formula: type) -> None:
    for x in (0.0, 1e-6, 0.9):
        at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        for k in range(SIZE):
            (first,) = grad(basis.double()(at)[k], at, create_graph=True)
            (second,) = grad(first, at)
            with mpmath.workdps(50):
                step = mpmath.mpf(10) ** -12
                y = [
                    formula(x + m * step if x else abs(m) * step, k) if m else formula(mpmath.mpf(x), k)
                    for m in (-1, 0, 1)
                ]
                expected = [float((y[2] - y[0]) / (2 * step)), float((y[2] - 2 * y[1] + y[0]) / step**2)]
            if x == 0 and formula is not bessel:  # not even in r: compare from the right
                continue
            assert first.item() == pytest.approx(expected[0], rel=1e-9, abs=1e-9)
            assert second.item() == pytest.approx(expected[1], rel=1e-8, abs=1e-8)


def test_bessel_functions_are_orthonormal_on_the_ball_and_vanish_at_the_cutoff() -> None:
    nodes, weights = np.polynomial.legendre.leggauss(60)
    r, w = torch.from_numpy((nodes + 1) * CUTOFF / 2), torch.from_numpy(weights * CUTOFF / 2)
    basis = BesselBasis(CUTOFF, SIZE)
    values = basis(r)
    assert torch.allclose((values * (w * r * r).unsqueeze(1)).T @ values, torch.eye(SIZE).double(), rtol=0, atol=1e-13)
    assert basis(torch.tensor(CUTOFF, dtype=torch.float64)).abs().max() < 1e-13


@pytest.mark.parametrize("make", [BesselBasis, GaussianBasis, ExpNormalBasis])
def test_what_has_no_cutoff_or_no_functions_is_refused(make: type) -> None:
    for cutoff, size in ((0.0, 4), (1.0, 0)):
        with pytest.raises(ValueError, match=f"expected a positive cutoff and size >= ., but got cutoff={cutoff}"):
            make(cutoff, size)
