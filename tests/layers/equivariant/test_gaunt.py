import math

import pytest
import torch
from e3nn import o3
from sympy.physics import wigner
from torch import Tensor

from isometry.layers.equivariant._gaunt_backends import gaunt_coefficients
from isometry.layers.equivariant.gaunt import GauntPower, GauntProduct
from isometry.layers.equivariant.spherical_harmonics import spherical_harmonics
from isometry.layers.equivariant.testing import EquivariantCase, EquivariantTests, spherical
from isometry.layers.testing import LayerSuite

BACKENDS = ("grid", "fft", "dense")


class TestGauntProduct(EquivariantTests, LayerSuite):
    # sums over up to 16 x 9 products
    cases = tuple(
        EquivariantCase(
            lambda backend=backend, antisymmetric=antisymmetric: GauntProduct(2, 1, 3, backend, antisymmetric),
            lambda n: (torch.randn(n, 9, 3), torch.randn(n, 4, 3)),
            (16, 3),
            actions_in=(spherical(2), spherical(1)),
            action_out=spherical(3, pseudo=antisymmetric),
            name=f"{backend}-{'bracket' if antisymmetric else 'product'}",
        )
        for backend in BACKENDS
        for antisymmetric in (False, True)
    )


class TestGauntPower(EquivariantTests, LayerSuite):
    cases = (
        EquivariantCase(
            lambda: GauntPower(2, 3, 3),
            lambda n: torch.randn(n, 9, 2),
            (16, 4),
            actions_in=(spherical(2),),
            action_out=spherical(3),
        ),
    )


def degree(coefficients: Tensor, a: int, b: int, d: int) -> Tensor:
    """Return the coefficients of three degrees."""
    return coefficients[a * a : (a + 1) ** 2, b * b : (b + 1) ** 2, d * d : (d + 1) ** 2]


TRIPLES = [(a, b, d) for a in range(5) for b in range(5) for d in range(5)]


@pytest.mark.parametrize(("a", "b", "d"), TRIPLES)
def test_the_coefficients_are_3j_symbols(a: int, b: int, d: int) -> None:
    """``sqrt((2a+1)(2b+1)(2d+1)) w3j(0, 0, 0) w3j(m, m', m'')``, the first with m = 0 about the polar axis."""
    g = degree(gaunt_coefficients(4, 4, 4, False), a, b, d)
    if not abs(a - b) <= d <= a + b:
        assert g.abs().max() < 1e-13
        return
    symbol = o3.wigner_3j(a, b, d, dtype=torch.float64)
    expected = math.sqrt((2 * a + 1) * (2 * b + 1) * (2 * d + 1)) * symbol[a, b, d] * symbol
    assert torch.allclose(g, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("a", "b", "d"), TRIPLES)
def test_the_bracket_holds_every_odd_triple_and_nothing_else(a: int, b: int, d: int) -> None:
    """Each block is a multiple of e3nn's 3j symbol, and not 0 where the degrees can couple at all."""
    g = degree(gaunt_coefficients(4, 4, 4, True), a, b, d)
    if (a + b + d) % 2 == 0 or not abs(a - b) <= d <= a + b:
        assert g.abs().max() < 1e-13
        return
    symbol = o3.wigner_3j(a, b, d, dtype=torch.float64)
    factor = (g * symbol).sum()
    assert factor.abs() > 1
    assert torch.allclose(g, factor * symbol, rtol=0, atol=1e-13)


def test_the_coefficients_are_those_of_sympy() -> None:
    """Sympy's are integrals of harmonics of norm 1 about z: ours over ``sqrt(4 pi)``, with the axes renamed."""
    g = gaunt_coefficients(2, 2, 2, False)
    rows = [(n, m) for n in range(3) for m in range(-n, n + 1)]
    for i, (a, m1) in enumerate(rows):
        for j, (b, m2) in enumerate(rows):
            for k, (d, m3) in enumerate(rows):
                theirs = float(wigner.real_gaunt(a, b, d, m1, m2, m3)) * math.sqrt(4 * math.pi)
                assert g[i, j, k].item() == pytest.approx(theirs, abs=1e-13)


@pytest.mark.parametrize("sizes", [(0, 0, 0), (1, 1, 2), (3, 2, 4), (2, 4, 1), (4, 4, 8), (0, 3, 3)])
@pytest.mark.parametrize("antisymmetric", [False, True])
def test_all_backends_agree(sizes: tuple[int, int, int], antisymmetric: bool) -> None:
    l1, l2, _ = sizes
    x = torch.randn(2, 3, (l1 + 1) ** 2, 2, dtype=torch.float64)
    y = torch.randn(2, 3, (l2 + 1) ** 2, 2, dtype=torch.float64)
    grid, fft, dense = (GauntProduct(*sizes, backend, antisymmetric).double()(x, y) for backend in BACKENDS)
    scale = dense.abs().max().clamp_min(1)
    assert torch.allclose(fft / scale, dense / scale, rtol=0, atol=1e-14)
    assert torch.allclose(grid / scale, dense / scale, rtol=0, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_product_is_the_product_of_functions(backend: str) -> None:
    n = torch.randn(10, 3, dtype=torch.float64)
    x, y = torch.randn(9, 1, dtype=torch.float64), torch.randn(16, 1, dtype=torch.float64)
    z = GauntProduct(2, 3, 5, backend).double()(x, y)
    f, g, fg = (spherical_harmonics(n, lmax) @ c for lmax, c in ((2, x), (3, y), (5, z)))
    assert torch.allclose(fg, f * g, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bracket_of_vectors_is_their_cross_product(backend: str) -> None:
    """``{u . n, v . n} = (u x v) . n``, and ``Y_1m = sqrt(3) n_m``."""
    u, v = torch.randn(2, 5, 3, 1, dtype=torch.float64)
    pad = torch.zeros(5, 1, 1, dtype=torch.float64)
    bracket = GauntProduct(1, 1, 1, backend, antisymmetric=True).double()(
        torch.cat([pad, u], 1), torch.cat([pad, v], 1)
    )
    assert torch.allclose(bracket[:, 1:], math.sqrt(3) * torch.linalg.cross(u, v, dim=1), rtol=0, atol=1e-13)
    assert bracket[:, 0].abs().max() < 1e-14


def test_the_product_commutes_and_the_bracket_satisfies_the_identity_of_jacobi() -> None:
    x, y, z = torch.randn(3, 4, 9, 2, dtype=torch.float64)
    product = GauntProduct(2, 2, 4).double()
    assert torch.allclose(product(x, y), product(y, x), rtol=0, atol=1e-13)
    inner, outer = (GauntProduct(a, b, a + b, antisymmetric=True).double() for a, b in ((2, 2), (2, 4)))
    assert torch.allclose(inner(x, y), -inner(y, x), rtol=0, atol=1e-12)
    cycle = outer(x, inner(y, z)) + outer(y, inner(z, x)) + outer(z, inner(x, y))
    assert cycle.abs().max() < 1e-11 * outer(x, inner(y, z)).abs().max()


@pytest.mark.parametrize("order", [2, 3, 4])
def test_powers_are_repeated_products(order: int) -> None:
    x = torch.randn(4, 9, 2, dtype=torch.float64)
    powers = GauntPower(2, 3, order).double()(x).split(2, -1)
    power = x
    for k in range(2, order + 1):
        power = GauntProduct(2 * (k - 1), 2, 2 * k).double()(power, x)
        expected = torch.nn.functional.pad(power[:, :16], (0, 0, 0, max(0, 16 - power.shape[1])))
        assert torch.allclose(powers[k - 2], expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="expected degrees >= 0, but got l1=-1"):
        GauntProduct(-1, 2, 2)
    with pytest.raises(ValueError, match=r"expected backend in \['dense', 'fft', 'grid'\], but got 'cg'"):
        GauntProduct(1, 1, 1, "cg")
    with pytest.raises(ValueError, match="order >= 2"):
        GauntPower(2, 2, 1)
