"""The kit itself: it passes what is equivariant and catches what is not."""

import pytest
import torch
from torch import Tensor, nn

from isometry.layers.equivariant.testing import (
    EquivariantCase,
    EquivariantTests,
    assert_equivariant,
    assert_roll_invariant,
    invariant,
    irreps,
    matrices,
    spherical,
    vectors,
)
from isometry.layers.testing import LayerSuite

X, Y = torch.randn(2, 5, 3, dtype=torch.float64)


def cross(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.cross(x, y)


def test_a_cross_product_is_an_axial_vector() -> None:
    assert_equivariant(cross, (X, Y), (vectors, vectors), irreps("1e"))
    assert_equivariant(cross, (X, Y), (vectors, vectors), vectors, group="SO(3)")
    with pytest.raises(AssertionError, match="for a reflection R"):
        assert_equivariant(cross, (X, Y), (vectors, vectors), vectors)


def test_all_actions_agree_on_vectors() -> None:
    assert_equivariant(lambda x: x, (X,), (vectors,), irreps("1o"))
    assert_equivariant(lambda x: nn.functional.pad(x, (1, 0)).unsqueeze(-1), (X,), (vectors,), spherical(1))
    assert_equivariant(lambda x, y: (x * y).sum(-1), (X, Y), (vectors, vectors), invariant)
    assert_equivariant(lambda x, y: x.unsqueeze(-1) * y.unsqueeze(-2), (X, Y), (vectors, vectors), matrices)
    pseudo = lambda x, y: nn.functional.pad(cross(x, y), (1, 0)).unsqueeze(-1)  # noqa: E731
    assert_equivariant(pseudo, (X, Y), (vectors, vectors), spherical(1, pseudo=True))


def test_what_is_not_equivariant_is_caught_above_the_tolerance() -> None:
    tilted = lambda size: lambda x: x + size * x.roll(1, -1)  # noqa: E731
    assert_equivariant(tilted(1e-12), (X,), (vectors,), vectors)
    with pytest.raises(AssertionError, match="for a rotation R"):
        assert_equivariant(tilted(1e-8), (X,), (vectors,), vectors)


def test_a_dependence_on_the_roll_is_caught() -> None:
    assert_roll_invariant(lambda roll: 1 + (roll.cos() ** 2 + roll.sin() ** 2).sum(), 4)
    with pytest.raises(AssertionError, match=r"f\(roll\)"):
        assert_roll_invariant(lambda roll: 1 + 1e-8 * roll.sum(), 4)


def test_the_kit_leaves_the_random_numbers_and_the_format_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert_equivariant(cross, (X, Y), (vectors, vectors), irreps("1e"))
    assert torch.equal(torch.rand(2), expected)
    assert torch.get_default_dtype() == torch.float32


class Rounded(nn.Module):
    """A constant that has gone through the default format."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("third", torch.tensor(1 / 3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.third


class Length(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.norm(dim=(-1, -2), keepdim=True)


class Tilted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, -2)


class NeedsSamples(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0 * x.amax()


FAULTS = {
    "test_the_default_format_plays_no_part": Rounded,
    "test_derivatives_are_finite_at_zero": Length,
    "test_it_commutes_with_rotations": Tilted,
    "test_no_samples_give_no_output": NeedsSamples,
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_layer_fails(name: str) -> None:
    case = EquivariantCase(
        FAULTS[name], lambda n: torch.randn(n, 4, 2), (4, 2), actions_in=(spherical(1),), action_out=spherical(1)
    )
    suite = type("Suite", (EquivariantTests, LayerSuite), {"cases": (case,)})()
    check = getattr(suite, name)
    with pytest.raises((AssertionError, IndexError, RuntimeError)):
        check(case, torch.float64) if "format" in name else check(case)
