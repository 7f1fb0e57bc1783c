from collections.abc import Callable

import pytest
import torch
from e3nn import o3
from torch import Tensor, nn

from isometry.layers.equivariant.pointwise import EquivarianceError, check_pointwise
from isometry.layers.equivariant.testing import irreps, random_rotations

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": nn.functional.silu,
    "relu": torch.relu,
    "leaky relu": nn.LeakyReLU(0.2),
    "prelu": nn.PReLU(),
    "gelu": nn.functional.gelu,
    "sigmoid": torch.sigmoid,
    "abs": torch.abs,
    "square": torch.square,
    "tanh": torch.tanh,
    "softsign": nn.functional.softsign,
    "cube": lambda x: x**3,
    "sine": torch.sin,
    "hardtanh": nn.Hardtanh(-5, 5),
    "twice": lambda x: 2 * x,
    "zero": torch.zeros_like,
    "affine": lambda x: 2 * x + 1,
    "constant": torch.ones_like,
}
IRREPS = ["0e", "0o", "1e", "1o", "2e", "2o", "3o", "4e", "0e + 0o", "3x0e + 2x1o", "2x0o + 0e"]


def allowed(representation: str | Tensor, activation: Callable[[Tensor], Tensor]) -> bool:
    try:
        check_pointwise(representation, activation)
    except EquivarianceError:
        return False
    return True


def commutes(matrices: list[Tensor], activation: Callable[[Tensor], Tensor]) -> bool:
    """Return whether it does on random vectors of several lengths."""
    activation = activation.double() if isinstance(activation, nn.Module) else activation
    size = matrices[0].shape[0]
    x = torch.cat([scale * torch.randn(50, size, dtype=torch.float64) for scale in (0.1, 1.0, 5.0)])
    return all(torch.allclose(activation(x @ m.T), activation(x) @ m.T, rtol=1e-9, atol=1e-9) for m in matrices)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("representation", IRREPS)
def test_the_verdict_on_irreps_is_what_numbers_say(representation: str, name: str) -> None:
    identity = torch.eye(o3.Irreps(representation).dim, dtype=torch.float64)
    matrices = [irreps(representation)(identity, rotation).T for rotation in random_rotations("O(3)")]
    assert allowed(representation, ACTIVATIONS[name]) == commutes(matrices, ACTIVATIONS[name])


PERMUTATION = torch.eye(3)[[1, 2, 0]]
SIGNED = PERMUTATION * torch.tensor([1.0, -1.0, 1.0])
MONOMIAL = torch.tensor([[0.0, 2.0], [0.5, 0.0]])
MINUS_TWO = torch.tensor([[0.0, -2.0], [-0.5, 0.0]])
STANDARD = torch.tensor([[-1.0, -1.0], [1.0, 0.0]])  # of three letters, on two of the coordinates
STOCHASTIC = torch.tensor([[0.25, 0.75], [1.0, 0.0]])  # its rows sum to 1
GROUPS = {
    "permutation": PERMUTATION,
    "signed": SIGNED,
    "monomial": MONOMIAL,
    "minus two": MINUS_TWO,
    "standard": STANDARD,
    "stochastic": STOCHASTIC,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("group", GROUPS)
def test_the_verdict_on_matrices_is_what_numbers_say(group: str, name: str) -> None:
    matrix = GROUPS[group]
    assert allowed(matrix.unsqueeze(0), ACTIVATIONS[name]) == commutes([matrix.double()], ACTIVATIONS[name])


def test_the_classes_of_the_theorem() -> None:
    """What each kind of matrix allows, of the activations above."""
    odd = {"tanh", "softsign", "cube", "sine", "hardtanh", "twice", "zero"}
    homogeneous = {"relu", "leaky relu", "prelu", "abs", "twice", "zero"}
    linear, affine = {"twice", "zero"}, {"twice", "zero", "affine", "constant"}
    expected = {
        "permutation": set(ACTIVATIONS),
        "signed": odd,
        "monomial": homogeneous,
        "minus two": linear,
        "standard": linear,
        "stochastic": affine,
    }
    for group, names in expected.items():
        assert {name for name, f in ACTIVATIONS.items() if allowed(GROUPS[group].unsqueeze(0), f)} == names


def test_the_error_names_what_is_wrong_and_what_works() -> None:
    with pytest.raises(EquivarianceError) as error:
        check_pointwise("4x0e + 2x0o + 8x1o", nn.SiLU())
    message = str(error.value)
    assert "SiLU on each coordinate" in message
    assert "0o changes signs, which asks for an odd function" in message
    assert "1o mixes coordinates" in message
    assert "0e" not in message
    for layer in ("Gate", "NormActivation", "SwiGLUS2", "S2Activation", "tanh"):
        assert layer in message
    with pytest.raises(EquivarianceError, match="matrix 1 changes signs"):
        check_pointwise(torch.stack([PERMUTATION, SIGNED]), torch.relu)
    with pytest.raises(ValueError, match=r"expected matrices \[g, n, n\], but got \(3, 3\)"):
        check_pointwise(PERMUTATION, torch.relu)


def test_an_activation_with_parameters_is_left_as_it_is() -> None:
    activation = nn.PReLU()
    check_pointwise("2x0e", activation)
    assert activation.weight.dtype == torch.float32
