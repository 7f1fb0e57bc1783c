import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from isometry.layers.equivariant import (
    TensorEmbedding,
    TensorInteraction,
    cartesian,
    matrix_from_spherical,
    matrix_product,
    spherical_from_matrix,
    spherical_harmonics,
)
from isometry.layers.equivariant.cartesian import direction_tensors
from isometry.layers.equivariant.testing import (
    Group,
    assert_equivariant,
    invariant,
    matrices,
    random_rotations,
    spherical,
    vectors,
)
from isometry.layers.testing import LayerCase, LayerSuite

PAIRS = torch.tensor([[0, 0, 1, 3, 3], [1, 2, 2, 2, 3]])  # (j, i); atom 3 neighbours its own image, 4 nobody
SPECIES = torch.tensor([0, 1, 1, 0, 2])


def spherical_features(*size: int) -> Tensor:
    return torch.randn(*size, 9, 4, dtype=torch.float64)


class Samples(nn.Module):
    """An embedding and an interaction, for each of several graphs with the same pairs."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.embedding, self.interaction = TensorEmbedding(3, 2, 3), TensorInteraction(2, 3, group)

    def forward(self, direction: Tensor, radial: Tensor, envelope: Tensor) -> Tensor:
        graphs = zip(direction.unbind(), radial.unbind(), envelope.unbind(), strict=True)
        return torch.stack(
            [self.interaction(self.embedding(SPECIES, PAIRS, u, e, phi), PAIRS, e, phi) for u, e, phi in graphs]
        )


def graphs(n: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.nn.functional.normalize(torch.randn(n, 5, 3), dim=2), torch.rand(n, 6, 3), torch.rand(n, 6)


class TestTensorLayers(LayerSuite):
    # two perceptrons, two layer norms and four products of matrices, one after the other
    cases = (
        LayerCase(lambda: Samples("O(3)"), graphs, (5, 9, 2), cond=4096.0, name="O(3)"),
        LayerCase(lambda: Samples("SO(3)"), graphs, (5, 9, 2), cond=4096.0, name="SO(3)"),
    )


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Return the directions of the pairs, and their radial functions and envelopes with those of distance 0."""
    direction, radial, envelope = (x[0].double() for x in graphs(1))
    return torch.nn.functional.normalize(direction, dim=1), radial, envelope


def matrices_last(X: Tensor, R: Tensor) -> Tensor:
    return matrices(X.movedim(-1, 0), R).movedim(0, -1)


def test_matrices_and_features_are_the_same_thing() -> None:
    x = spherical_features(5, 2)
    X = matrix_from_spherical(x)
    assert torch.allclose(spherical_from_matrix(X), x, rtol=0, atol=1e-15)
    assert torch.allclose(X.square().sum((-3, -2)), x.square().sum(-2), rtol=1e-14, atol=0)
    only = torch.zeros(9, 9, 1, dtype=torch.float64)
    only[range(9), range(9)] = 1
    basis = matrix_from_spherical(only).squeeze(-1)
    assert torch.allclose(basis[0], torch.eye(3).double() / 3**0.5)
    assert torch.equal(basis[1:4], -basis[1:4].mT)
    assert torch.equal(basis[4:], basis[4:].mT)
    u = torch.randn(3, dtype=torch.float64)
    for k in range(3):
        assert torch.allclose(basis[1 + k] @ u, torch.linalg.cross(torch.eye(3).double()[k], u) / 2**0.5)


def test_rotations_act_on_the_matrices_as_e3nn_rotates_the_features() -> None:
    """And the inversion, which natural parity gives the odd rows a sign for, transposes them."""
    x = spherical_features(5)
    assert_equivariant(matrix_from_spherical, [x], [spherical(2)], matrices_last, group="SO(3)", atol=1e-14)
    X = torch.randn(5, 3, 3, 4, dtype=torch.float64)
    assert_equivariant(spherical_from_matrix, [X], [matrices_last], spherical(2), group="SO(3)", atol=1e-14)
    inverted = spherical(2)(x, -torch.eye(3, dtype=torch.float64))
    assert torch.equal(matrix_from_spherical(inverted), matrix_from_spherical(x).transpose(-3, -2))


def test_tensors_of_a_direction_are_its_spherical_harmonics() -> None:
    u = inputs()[0]
    x = direction_tensors(u)
    X = matrix_from_spherical(x.unsqueeze(-1)).squeeze(-1)
    third = torch.eye(3, dtype=torch.float64) / 3
    skew = torch.stack([torch.linalg.cross(u, e.expand_as(u)) for e in torch.eye(3).double()], 2)
    assert torch.allclose(X, 3 * third + skew + u.unsqueeze(2) * u.unsqueeze(1) - third, rtol=0, atol=1e-15)
    scale = torch.tensor([3] + 3 * [2 / 3] + 5 * [2 / 15], dtype=torch.float64).sqrt()
    assert torch.allclose(x, spherical_harmonics(u, 2) * scale, rtol=0, atol=1e-14)
    assert torch.equal(direction_tensors(torch.zeros(1, 3))[0, 1:], torch.zeros(8))


@pytest.mark.parametrize("group", ["O(3)", "SO(3)"])
def test_products_are_those_of_matrices_and_obey_the_group(group: Group) -> None:
    x, y = spherical_features(5), spherical_features(5)
    X, Y = (matrix_from_spherical(v).movedim(-1, 1) for v in (x, y))
    expected = (X @ Y + Y @ X if group == "O(3)" else 2 * X @ Y).movedim(1, -1)
    assert torch.allclose(matrix_from_spherical(matrix_product(x, y, group)), expected, rtol=0, atol=1e-14)
    actions = [spherical(2), spherical(2)]
    assert_equivariant(lambda x, y: matrix_product(x, y, group), [x, y], actions, spherical(2), group, atol=1e-14)
    inversion = -torch.eye(3, dtype=torch.float64)
    both = [spherical(2)(v, inversion) for v in (x, y)]
    error = (matrix_product(*both, group) - spherical(2)(matrix_product(x, y, group), inversion)).abs().max()
    assert (error > 0.1) == (group == "SO(3)")


def test_sums_over_pairs_are_those_of_a_dense_matrix_with_exact_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, x = torch.randn(5, 3, 4, dtype=torch.float64), spherical_features(5)
    dense = torch.zeros(5, 5, 3, 4, dtype=torch.float64)
    for w, j, i in zip(weight, *PAIRS, strict=True):
        dense[i, j] += w
        dense[j, i] += w
    rows = torch.repeat_interleave(torch.tensor([1, 3, 5]))
    expected = torch.einsum("ijrc,jrc->irc", dense[:, :, rows], x)
    for block in (512, 2):
        monkeypatch.setattr(cartesian, "_BLOCK", block)
        assert torch.allclose(cartesian._PairSum.apply(weight, x, PAIRS), expected, rtol=0, atol=1e-14)
        arguments = (weight.requires_grad_(), x.requires_grad_(), PAIRS)
        assert gradcheck(cartesian._PairSum.apply, arguments, fast_mode=True)
        assert gradgradcheck(cartesian._PairSum.apply, arguments, fast_mode=True)
        y = spherical_features(5).requires_grad_()
        assert gradcheck(cartesian._PairDot.apply, (x, y, PAIRS), fast_mode=True)
        assert gradgradcheck(cartesian._PairDot.apply, (x, y, PAIRS), fast_mode=True)


def test_the_embedding_is_the_sum_over_neighbours_of_the_paper() -> None:
    layer = TensorEmbedding(3, 4, 3).double()
    direction, radial, envelope = inputs()
    j, i = (torch.cat([*parts, torch.arange(5)]) for parts in ((PAIRS[0], PAIRS[1]), (PAIRS[1], PAIRS[0])))
    u = torch.cat([direction, -direction, torch.zeros(5, 3).double()])
    index = torch.tensor([*range(5), *range(5), *[5] * 5])
    z = layer.embedding(SPECIES)
    Z = layer.pair(torch.cat([z[i], z[j]], 1)) * envelope[index].unsqueeze(1)
    f = layer.filter(radial[index]).view(-1, 3, 4)
    eye = torch.eye(3, dtype=torch.float64)
    parts = (
        eye.expand(15, 3, 3) * (1 + 0 * u[:, :1, None]),
        torch.stack([torch.linalg.cross(u, e.expand_as(u)) for e in eye], 2),
        u.unsqueeze(2) * u.unsqueeze(1) - eye / 3 * u.square().sum(1).view(-1, 1, 1),
    )
    terms = [part.unsqueeze(3) * (Z * f[:, k])[:, None, None] for k, part in enumerate(parts)]
    X = torch.zeros(3, 5, 3, 3, 4, dtype=torch.float64).index_add(1, i, torch.stack(terms))
    gate = layer.gate(layer.norm(X.sum(0).square().sum((1, 2)))).view(5, 3, 4)
    mixed = torch.stack(
        [part @ w * g[:, None, None] for part, w, g in zip(X, layer.mix.weight, gate.unbind(1), strict=True)]
    )
    found = matrix_from_spherical(layer(SPECIES, PAIRS, direction, radial, envelope))
    assert torch.allclose(found, mixed.sum(0), rtol=0, atol=1e-14)


@pytest.mark.parametrize("group", ["O(3)", "SO(3)"])
def test_layers_obey_the_group(group: Group) -> None:
    direction, radial, envelope = inputs()
    embedding = TensorEmbedding(3, 4, 3).double()
    interaction = TensorInteraction(4, 3, group).double()

    def embed(u: Tensor) -> Tensor:
        return embedding(SPECIES, PAIRS, u, radial, envelope)

    def interact(x: Tensor) -> Tensor:
        return interaction(x, PAIRS, radial, envelope)

    assert_equivariant(embed, [direction], [vectors], spherical(2), "O(3)", atol=1e-13)
    x = embed(direction).detach()
    assert_equivariant(interact, [x], [spherical(2)], spherical(2), group, atol=1e-13)
    assert invariant(x, random_rotations("SO(3)")[0]) is x


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises((ValueError, TypeError), match=r"E\(3\)"):  # the tests' check of types comes first
        TensorInteraction(4, 3, "E(3)")  # type: ignore[arg-type]
