from typing import Any

import geoopt
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from isometry.manifolds import Euclidean, Lorentz, PoincareBall
from isometry.models import KGEmbedding
from isometry.models.kg_embedding import _SquaredArcosh
from tests.layers.hyperbolic.models import moved, same_parameters

C, DIM = 0.7, 4
HEAD, RELATION = torch.tensor([0, 3, 5, 1]), torch.tensor([2, 0, 2, 1])
TAIL = torch.tensor([4, 3, 0, 1, 2])
KINDS = ["rotation", "reflection", "attention"]


def model(manifold: Any, isometry: str = "rotation") -> KGEmbedding:
    return moved(KGEmbedding(6, 3, manifold, isometry))  # type: ignore[return-value]


def planes(angles: Tensor, mirror: bool) -> Tensor:
    """Matrices ``[dim, dim]`` of rotations or reflections of planes."""
    blocks = []
    for a in angles:
        sign = -1.0 if mirror else 1.0
        blocks.append(torch.stack([torch.stack([a.cos(), -sign * a.sin()]), torch.stack([a.sin(), sign * a.cos()])]))
    return torch.block_diag(*blocks)


def by_geoopt(net: KGEmbedding, h: int, r: int, t: int) -> Tensor:
    """The score by another library, on the ball of the relation's curvature."""
    c = C * net.log_scales[r].exp() ** 2
    ball = geoopt.PoincareBall(c=c.detach())
    u = net.entities[h]
    turned = None if net.turns is None else planes(net.turns[r], False) @ u
    mirrored = None if net.mirrors is None else planes(net.mirrors[r], True) @ u
    if net.preferences is not None:
        both = torch.stack([turned, mirrored])  # type: ignore[list-item]
        image = (both @ net.preferences[r]).softmax(0) @ both
    else:
        image = mirrored if turned is None else turned  # type: ignore[assignment]
    # A tangent vector of length |u| in an orthonormal frame has half the coordinates on the ball.
    query = ball.mobius_add(ball.expmap0(net.translations[r] / 2), ball.expmap0(image / 2))
    return net.biases[h] + net.biases[t] - ball.dist(query, ball.expmap0(net.entities[t] / 2)) ** 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("space", [PoincareBall, Lorentz])
def test_scores_are_those_of_geoopts_ball(kind: str, space: Any) -> None:
    net = model(space(DIM, C), kind)
    found = net(HEAD, RELATION, TAIL)
    pairs = zip(HEAD.tolist(), RELATION.tolist(), strict=True)
    expected = torch.stack([torch.stack([by_geoopt(net, h, r, t) for t in TAIL.tolist()]) for h, r in pairs])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_curvature_zero_is_the_flat_model(kind: str) -> None:
    curved, flat = model(PoincareBall(DIM, 1e-10), kind), KGEmbedding(6, 3, Euclidean(DIM), kind).double()
    same_parameters(curved, flat)
    torch.testing.assert_close(curved(HEAD, RELATION, TAIL), flat(HEAD, RELATION, TAIL), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["rotation", "reflection"])
def test_a_relation_is_an_isometry(kind: str) -> None:
    """With an entity where the relation puts entity 1, entity 0 scores as its distance from 1 says."""
    net = model(PoincareBall(DIM, C), kind)
    ball = geoopt.PoincareBall(c=torch.tensor(C, dtype=torch.float64))
    with torch.no_grad():
        net.biases.zero_()
        net.log_scales.zero_()
        u = net.entities
        angles = net.mirrors if net.turns is None else net.turns
        assert angles is not None
        turned = planes(angles[0], kind == "reflection") @ u[1]
        image = ball.mobius_add(ball.expmap0(net.translations[0] / 2), ball.expmap0(turned / 2))
        apart = ball.dist(ball.expmap0(u[0] / 2), ball.expmap0(u[1] / 2)) ** 2
        u[5] = 2 * ball.logmap0(image)
    score = net(torch.tensor([0]), torch.tensor([0]), torch.tensor([5]))
    torch.testing.assert_close(-score[0, 0], apart, rtol=1e-9, atol=1e-9)


def test_gradients_and_learned_curvatures() -> None:
    net = model(PoincareBall(DIM, C, learnable=True), "attention")
    parameters = [p for p in net.parameters() if p.requires_grad]
    scores = net(HEAD, RELATION, TAIL)
    gradients = torch.autograd.grad(scores.square().sum(), parameters)
    for p, g in zip(parameters, gradients, strict=True):
        with torch.no_grad():
            step = torch.randn_like(p)
            values = []
            for sign in (1, -1):
                p.add_(sign * 1e-6 * step)
                values.append(net(HEAD, RELATION, TAIL).square().sum())
                p.sub_(sign * 1e-6 * step)
        expected = (values[0] - values[1]) / 2e-6
        torch.testing.assert_close((g * step).sum(), expected, rtol=1e-6, atol=1e-6)
    assert any("log_c" in name for name, _ in net.named_parameters())


def test_the_squared_arcosh() -> None:
    z = torch.tensor([1e-12, 1e-3, 0.5, 40.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(_SquaredArcosh.apply, (z[1:].detach().requires_grad_(),))
    value: Any = _SquaredArcosh.apply(z)
    torch.testing.assert_close(value[1:], (1 + z[1:]).acosh().square())
    torch.testing.assert_close(value[0], 2 * z[0])
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    result: Any = _SquaredArcosh.apply(zero)
    result.backward()
    assert result.item() == 0
    assert zero.grad is not None
    assert zero.grad.item() == 2


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a manifold of even dimension, but got PoincareBall"):
        KGEmbedding(6, 3, PoincareBall(3))
    with pytest.raises(ValueError, match=r'expected "rotation", "reflection" or "attention", but got .shift'):
        KGEmbedding(6, 3, PoincareBall(4), "shift")
