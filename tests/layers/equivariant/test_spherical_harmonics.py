import math

import pytest
import torch
from e3nn import o3
from numpy.polynomial.legendre import Legendre
from torch.autograd import grad, gradcheck, gradgradcheck

from isometry.layers.equivariant import spherical_harmonics
from isometry.layers.testing.case import float64_by_default
from tests.layers.equivariant.so2_oracles import POLES, harmonics


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("lmax", [0, 1, 4, 8])
def test_they_are_those_of_e3nn(lmax: int, normalize: bool) -> None:
    vec = torch.cat([torch.randn(2, 20, 3, dtype=torch.float64), 2 * POLES.expand(2, -1, -1)], 1)
    with float64_by_default():
        theirs = o3.spherical_harmonics(list(range(lmax + 1)), vec, normalize, "component")
    ours = spherical_harmonics(vec, lmax, normalize)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-14 * float(theirs.abs().max()))
    single = spherical_harmonics(vec.float(), lmax, normalize)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), theirs, rtol=0, atol=2e-6 * float(theirs.abs().max()))


def test_they_obey_the_addition_theorem_up_to_high_degrees() -> None:
    """``sum_m Y_lm(a) Y_lm(b) = (2 l + 1) P_l(a . b)``, by numpy's Legendre polynomials."""
    a, b = torch.nn.functional.normalize(torch.randn(2, 30, 3, dtype=torch.float64), dim=-1)
    lmax = 20
    products = spherical_harmonics(a, lmax) * spherical_harmonics(b, lmax)
    for degree, block in enumerate(products.split([2 * n + 1 for n in range(lmax + 1)], -1)):
        expected = torch.from_numpy(Legendre.basis(degree)((a * b).sum(-1).numpy()))
        assert torch.allclose(block.sum(-1) / (2 * degree + 1), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalize", [True, False])
def test_derivatives_are_exact_at_the_poles_too(normalize: bool) -> None:
    vec = torch.cat([torch.randn(3, 3, dtype=torch.float64), POLES]).requires_grad_()
    gradcheck(lambda v: spherical_harmonics(v, 3, normalize), vec)
    gradgradcheck(lambda v: spherical_harmonics(v, 3, normalize), vec)
    theirs = vec.detach().clone().requires_grad_()
    weight = torch.randn(16, dtype=torch.float64)
    (ours,) = grad(spherical_harmonics(vec, 3).sum(0) @ weight, vec)
    (expected,) = grad(harmonics(theirs, 3).sum(0) @ weight, theirs)
    assert torch.allclose(ours, expected, rtol=0, atol=1e-13)


def test_of_no_direction_they_are_those_of_the_pole_without_derivatives() -> None:
    zero = torch.zeros(1, 3, requires_grad=True)
    y = spherical_harmonics(zero, 2)
    assert torch.allclose(y, torch.tensor([[1, 0, math.sqrt(3), 0, 0, 0, math.sqrt(5), 0, 0]]))
    (first,) = grad(y.sum(), zero, create_graph=True)
    assert torch.equal(first, torch.zeros(1, 3))
    assert spherical_harmonics(torch.empty(0, 3), 2).shape == (0, 9)


def test_tiny_and_huge_vectors_have_directions() -> None:
    vec = torch.randn(5, 3)
    for scale in (1e-30, 1e30):
        assert torch.allclose(spherical_harmonics(vec * scale, 4), spherical_harmonics(vec, 4), rtol=0, atol=2e-6)


def test_they_compile_as_one_graph() -> None:
    vec = torch.randn(5, 3)
    compiled = torch.compile(spherical_harmonics, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(vec, 4), spherical_harmonics(vec, 4), rtol=0, atol=1e-6)
