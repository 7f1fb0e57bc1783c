import math

import mpmath
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad

from isometry.layers.equivariant import CosineCutoff, PolynomialCutoff
from isometry.layers.testing import LayerCase, LayerSuite

CUTOFF = 3.5


def distances(n: int) -> Tensor:
    return CUTOFF * torch.rand(n)


class TestCutoffs(LayerSuite):
    cases = (
        LayerCase(lambda: PolynomialCutoff(CUTOFF), distances, ()),
        LayerCase(lambda: PolynomialCutoff(CUTOFF, 3), distances, ()),
        LayerCase(lambda: CosineCutoff(CUTOFF), distances, ()),
    )
    test_a_saved_state_restores_the_layer = None  # there is no state


def polynomial(x: mpmath.mpf, p: int) -> mpmath.mpf:
    return 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)


@pytest.mark.parametrize("p", [1, 2, 5, 6, 9])
def test_the_polynomial_is_accurate_relative_to_its_value_up_to_the_cutoff(p: int) -> None:
    with mpmath.workdps(60):
        for x in (0.0, 1e-8, 0.125, 0.5, 0.75, 1 - 2.0**-10, 1 - 2.0**-30):
            expected = float(polynomial(mpmath.mpf(x), p))
            found = PolynomialCutoff(1.0, p)(torch.tensor(x, dtype=torch.float64)).item()
            assert found == pytest.approx(expected, rel=1e-14, abs=0)


def test_the_cosine_is_accurate_relative_to_its_value_up_to_the_cutoff() -> None:
    with mpmath.workdps(60):
        for x in (0.0, 1e-8, 0.125, 0.5, 0.75, 1 - 2.0**-10, 1 - 2.0**-30):
            expected = float((1 + mpmath.cos(mpmath.pi * x)) / 2)
            found = CosineCutoff(1.0)(torch.tensor(x, dtype=torch.float64)).item()
            assert found == pytest.approx(expected, rel=1e-14, abs=0)


def derivatives(envelope: nn.Module, r: float, order: int) -> list[float]:
    """Return the value and the derivatives, each times a power of the cutoff."""
    at = torch.tensor(r, dtype=torch.float64, requires_grad=True)
    y = envelope(at)
    values = [y]
    for _ in range(order):
        (y,) = grad(y + 0 * at, at, create_graph=True)
        values.append(y)
    return [value.item() * CUTOFF**k for k, value in enumerate(values)]


@pytest.mark.parametrize(
    ("envelope", "order"), [(PolynomialCutoff(CUTOFF), 2), (PolynomialCutoff(CUTOFF, 1), 2), (CosineCutoff(CUTOFF), 1)]
)
def test_derivatives_fade_to_the_stated_order_and_no_further(envelope: nn.Module, order: int) -> None:
    values = derivatives(envelope, CUTOFF * (1 - 1e-7), order + 1)
    assert max(map(abs, values[:-1])) < 1e-4
    assert abs(values[-1]) > 1
    for r in (CUTOFF, CUTOFF * (1 + 1e-7), 2 * CUTOFF, 1e30):
        assert derivatives(envelope, r, order) == [0.0] * (order + 1)
    assert derivatives(envelope, 0.0, 0) == [1.0]


def test_the_polynomial_is_flat_at_distance_0() -> None:
    assert derivatives(PolynomialCutoff(CUTOFF, 4), 0.0, 4) == pytest.approx(
        [1, 0, 0, 0, -15 * math.factorial(4)], abs=1e-12
    )


@pytest.mark.parametrize(
    "make", [lambda: PolynomialCutoff(0.0), lambda: PolynomialCutoff(1.0, 0), lambda: CosineCutoff(-1.0)]
)
def test_what_has_no_cutoff_is_refused(make: type) -> None:
    with pytest.raises(ValueError, match="expected a positive cutoff"):
        make()
