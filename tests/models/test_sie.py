import pytest
import torch
from torch import Tensor, nn

from isometry.layers import LinearAction, RotationAction
from isometry.layers.testing import LayerCase, LayerSuite
from isometry.manifolds import SpecialOrthogonal
from isometry.models import SIE, SplitViews

ACTIONS = {"linear": lambda: LinearAction(9, 9), "representation": lambda: RotationAction("1x0e + 1x1o + 1x2e")}


def backbone() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 7))


class Predicted(SIE):
    """The network as a function with one output, without statistics of the batch."""

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:  # type: ignore[override]
        return torch.cat(super().forward(x, y, z), -1)


def network(action: str) -> Predicted:
    return Predicted(backbone(), 7, 4, 10, 6, ACTIONS[action]()).eval()


def views(count: int) -> tuple[Tensor, ...]:
    return torch.randn(count, 4, 3), torch.randn(count, 4, 3), SpecialOrthogonal(3).random(count, 3, 3)


class TestSIE(LayerSuite):
    cases = tuple(
        LayerCase(
            lambda action=action: network(action),  # type: ignore[misc]
            views,
            (6 + 6 + 9 + 9 + 9,),
            cond=256.0,
            manifold_in=(None, None, SpecialOrthogonal(3)),
            name=action,
        )
        for action in ACTIONS
    )


@pytest.mark.parametrize("action", list(ACTIONS))
def test_each_half_of_the_features_has_an_expander_of_its_own(action: str) -> None:
    model, (x, y, z) = SIE(backbone(), 7, 4, 10, 6, ACTIONS[action]()).eval(), views(5)
    out = model(x, y, z)
    assert isinstance(out, SplitViews)
    features = model.backbone(y)
    assert torch.equal(out.y_invariant, model.invariant_expander(features[:, :4]))
    assert torch.equal(out.y_equivariant, model.equivariant_expander(features[:, 4:]))
    assert torch.equal(out.predicted, model.action(z, out.x_equivariant))
    invariant, equivariant = model.features(x)
    assert torch.equal(torch.cat([invariant, equivariant], 1), model.backbone(x))


def test_predictions_of_a_representation_compose() -> None:
    torch.set_default_dtype(torch.float64)
    model, (x, y, z) = SIE(backbone(), 7, 4, 10, 6, ACTIONS["representation"]()).eval(), views(5)
    second = SpecialOrthogonal(3).random(5, 3, 3)
    one_by_one = model.action(second, model(x, y, z).predicted)
    assert torch.allclose(model(x, y, second @ z).predicted, one_by_one, atol=1e-13)


@pytest.mark.parametrize("invariant", [0, 7])
def test_both_halves_have_features(invariant: int) -> None:
    with pytest.raises(ValueError, match=f"expected invariant_features between 1 and 6, but got {invariant}"):
        SIE(backbone(), 7, invariant, 10, 6, LinearAction(9, 4))
