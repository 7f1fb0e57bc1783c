import math

import pytest
import torch

from isometry.layers import FermiDirac
from isometry.layers.testing import LayerCase, LayerSuite


class TestFermiDirac(LayerSuite):
    cases = (LayerCase(lambda: FermiDirac(r=1.5, t=0.25), lambda n: torch.rand(n, 3), out_shape=(3,)),)


def test_it_is_the_formula() -> None:
    dist = torch.linspace(0, 9, 31, dtype=torch.float64)
    decoder = FermiDirac(r=1.5, t=0.25)
    expected = [1 / (math.exp((d - 1.5) / 0.25) + 1) for d in dist.tolist()]
    assert decoder.probability(dist).tolist() == pytest.approx(expected, rel=1e-14)
    assert decoder(dist).sigmoid().tolist() == pytest.approx(expected, rel=1e-14)


def test_a_link_at_the_radius_is_as_likely_as_not_and_far_ones_do_not_overflow() -> None:
    assert FermiDirac(r=3.0)(torch.tensor(3.0)) == 0
    far = torch.tensor([1e4, 0.0], requires_grad=True)
    probability = FermiDirac(t=1e-2).probability(far)
    assert probability.tolist() == [0, 1]
    probability.sum().backward()
    assert far.grad is not None
    assert far.grad.isfinite().all()


def test_gradient() -> None:
    assert torch.autograd.gradcheck(FermiDirac(1.0, 0.5), torch.rand(4, 3, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("t", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(t: float) -> None:
    with pytest.raises(ValueError, match=f"expected a positive temperature t, but got {t}"):
        FermiDirac(t=t)
